/* A plugin in Wasm, in C: an HTTP server says who may connect. Options: { "url": "http://…" }. bindings/ is made from world.wit by
   `wit-bindgen c` and says what every function takes and gives; what is returned is freed there, so it is copied. */

#include "bindings/guest.h"
#include <stdlib.h>
#include <string.h>

#define BODY_MAX 8192
#define URL_MAX 1024

static char url[URL_MAX]; /* of the options; ends with a zero */

static const char schema[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"url\"],\"properties\":{\"url\":"
    "{\"type\":\"string\",\"description\":\"Where to ask: gets client_id, username and password as JSON.\"}}}";

/* What a fault is in Wasm: the broker throws this instance away, and the use's on_error decides. */
_Noreturn static void fail(const char *why) {
  guest_string_t text;
  guest_string_set(&text, why);
  jackfield_plugin_log_write(JACKFIELD_PLUGIN_LOG_LEVEL_ERROR, &text);
  __builtin_trap();
}

void exports_jackfield_plugin_describe_get(exports_jackfield_plugin_describe_manifest_t *ret) {
  memset(ret, 0, sizeof *ret);
  guest_string_dup(&ret->id, "auth-c");
  guest_string_dup(&ret->version, "1.0.0");
  ret->config_schema.is_some = true;
  guest_string_dup(&ret->config_schema.val, schema);
}

/* Finds the text of "url" in a JSON object that the broker has checked against the schema. */
static bool read_url(const guest_string_t *options, char *found) {
  static const char key[] = "\"url\"";
  const char *at = (const char *)options->ptr, *end = at + options->len;
  for (; at + sizeof key <= end && memcmp(at, key, sizeof key - 1) != 0; at++)
    ;
  if (at + sizeof key > end)
    return false;
  for (at += sizeof key - 1; at < end && *at != '"'; at++)
    ;
  size_t len = 0;
  for (at++; at < end && *at != '"' && len < URL_MAX - 1; at++)
    found[len++] = *at;
  found[len] = 0;
  return strncmp(found, "http", 4) == 0;
}

bool exports_jackfield_plugin_lifecycle_validate(guest_string_t *options,
                                                 exports_jackfield_plugin_lifecycle_complaint_t *err) {
  char checked[URL_MAX];
  bool good = read_url(options, checked);
  if (!good) {
    guest_string_dup(&err->key, "url");
    guest_string_dup(&err->why, "must begin with http:// or https://");
  }
  guest_string_free(options);
  return good;
}

bool exports_jackfield_plugin_lifecycle_init(guest_string_t *options,
                                             exports_jackfield_plugin_lifecycle_complaint_t *err) {
  read_url(options, url);
  return exports_jackfield_plugin_lifecycle_validate(options, err);
}

void exports_jackfield_plugin_lifecycle_tick(void) {}

/* A JSON text that grows to the right; `full` says that something didn't fit. */
struct body {
  char text[BODY_MAX];
  size_t len;
  bool full;
};

static void put(struct body *body, char c) {
  if (body->len == BODY_MAX)
    body->full = true;
  else
    body->text[body->len++] = c;
}

static void put_raw(struct body *body, const char *text) {
  for (; *text; text++)
    put(body, *text);
}

static void put_string(struct body *body, const uint8_t *bytes, size_t len) {
  static const char hex[] = "0123456789abcdef";
  put(body, '"');
  for (size_t i = 0; i < len; i++) {
    uint8_t c = bytes[i];
    if (c == '"' || c == '\\')
      put(body, '\\');
    if (c < 0x20) {
      put_raw(body, "\\u00");
      put(body, hex[c >> 4]);
      put(body, hex[c & 15]);
    } else {
      put(body, (char)c);
    }
  }
  put(body, '"');
}

static void deny(exports_jackfield_plugin_authenticate_verdict_t *ret, uint8_t reason, const uint8_t *why, size_t len) {
  ret->tag = EXPORTS_JACKFIELD_PLUGIN_AUTHENTICATE_VERDICT_DENY;
  ret->val.deny.reason = reason;
  ret->val.deny.text.is_some = len > 0;
  if (len > 0)
    guest_string_dup_n(&ret->val.deny.text.val, (const char *)why, len);
}

/* Asks the server. Any status is an answer: 2xx lets in, 401 and 403 keep out, 404 says that somebody else may know. */
static void ask(struct body *body, exports_jackfield_plugin_authenticate_verdict_t *ret) {
  guest_tuple2_string_string_t header;
  guest_string_set(&header.f0, "content-type");
  guest_string_set(&header.f1, "application/json");
  jackfield_plugin_http_request_t request = {
      .headers = {&header, 1},
      .body = {(uint8_t *)body->text, body->len},
      .timeout_ms = 2000,
  };
  guest_string_set(&request.method, "POST");
  guest_string_set(&request.url, url);
  jackfield_plugin_http_response_t response;
  jackfield_plugin_http_error_t error;
  if (!jackfield_plugin_http_send(&request, &response, &error))
    fail("the server for logins doesn't answer");
  if (response.status / 100 == 2)
    ret->tag = EXPORTS_JACKFIELD_PLUGIN_AUTHENTICATE_VERDICT_ALLOW;
  else if (response.status == 401 || response.status == 403)
    deny(ret, response.status == 401 ? 0x86 : 0x87, response.body.ptr, response.body.len);
  else if (response.status != 404)
    fail("the server for logins answers neither yes nor no");
  jackfield_plugin_http_response_free(&response);
}

void exports_jackfield_plugin_authenticate_on_authenticate(
    exports_jackfield_plugin_authenticate_borrow_client_t who,
    exports_jackfield_plugin_authenticate_credentials_t *credentials,
    exports_jackfield_plugin_authenticate_verdict_t *ret) {
  memset(ret, 0, sizeof *ret); /* skip: not mine, ask the next */
  if (credentials->username.is_some && credentials->password.is_some) {
    guest_string_t *name = &credentials->username.val, client_id;
    guest_list_u8_t *password = &credentials->password.val;
    jackfield_plugin_types_method_client_id(who, &client_id);
    struct body body = {.len = 0, .full = false};
    put_raw(&body, "{\"client_id\":");
    put_string(&body, client_id.ptr, client_id.len);
    put_raw(&body, ",\"username\":");
    put_string(&body, name->ptr, name->len);
    put_raw(&body, ",\"password\":");
    put_string(&body, password->ptr, password->len);
    put(&body, '}');
    guest_string_free(&client_id);
    if (body.full)
      deny(ret, 0x86, NULL, 0);
    else
      ask(&body, ret);
  }
  jackfield_plugin_types_client_drop_borrow(who);
  exports_jackfield_plugin_authenticate_credentials_free(credentials);
}

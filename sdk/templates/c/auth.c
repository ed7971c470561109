/* {{name}}: lets in who is in its table of users. */
#include "json.h"

struct plugin {
  jf_plugin table;
  jf_interest interest;
  const jf_host *host;
  size_t len;       /* of the options */
  uint8_t options[];
};

static jf_str str(const char *text) {
  jf_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

/* Compares in a time that tells nothing of the content. */
static int same(jf_str known, jf_str given) {
  uint8_t differs = known.len != given.len;
  for (size_t i = 0; i < known.len && i < given.len; i++) differs |= known.ptr[i] ^ given.ptr[i];
  return !differs;
}

static int32_t authenticate(void *self, const jf_ctx *ctx, const jf_auth_in *in, jf_out *out) {
  const struct plugin *plugin = self;
  const jf_host *host = plugin->host;
  (void)ctx;
  if (in->username.ptr == NULL || in->password.ptr == NULL) return JF_OK; /* preset to JF_V_SKIP: the next plugin is asked */
  jf_str options = {plugin->options, plugin->len};
  jf_str users = json_get(options, "users", 5);
  jf_str known = json_text(json_get(users, (const char *)in->username.ptr, in->username.len));
  if (known.ptr != NULL && same(known, in->password)) {
    out->verdict = JF_V_ALLOW;
    return JF_OK;
  }
  host->log(host->ctx, 2, str("somebody was refused"));
  host->out_text(out->sink, str("wrong user name or password"));
  out->verdict = JF_V_DENY;
  out->reason = 0x86;
  return JF_OK;
}

static void destroy(void *self) { free(self); }

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  struct plugin *plugin = calloc(1, sizeof *plugin + config.len);
  if (plugin == NULL) {
    host->out_text(err_sink, str("no memory"));
    return JF_EUNAVAIL;
  }
  plugin->host = host;
  plugin->len = config.len; /* lent for this call: copied */
  memcpy(plugin->options, config.ptr, config.len);
  plugin->interest.size = sizeof plugin->interest;
  plugin->interest.hooks = JF_BIT(JF_HOOK_AUTHENTICATE);
  plugin->table.size = sizeof plugin->table;
  plugin->table.self = plugin;
  plugin->table.interest = &plugin->interest;
  plugin->table.authenticate = authenticate;
  plugin->table.destroy = destroy;
  *out = &plugin->table;
  return JF_OK;
}

const jf_entry jackfield_plugin_v1 = {
  .magic = JF_MAGIC, .size = sizeof jackfield_plugin_v1, .abi_major = JF_ABI_MAJOR, .abi_minor_needed = 0,
  .id = "{{name}}", .version = "0.1.0", .sdk = "c", .hooks = JF_BIT(JF_HOOK_AUTHENTICATE), .create = create,
  .config_schema =
    "{\"type\":\"object\",\"required\":[\"users\"],\"additionalProperties\":false,\"properties\":{\"users\":"
    "{\"type\":\"object\",\"description\":\"The password of each user.\",\"additionalProperties\":{\"type\":\"string\"}}}}",
};

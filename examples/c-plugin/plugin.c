/* A native plugin in C: counts messages below `count/`, writes them in capitals, and drops those that say "secret". */
#include "jackfield_plugin.h"
#include <stdlib.h>
#include <string.h>

struct plugin {
  jf_plugin table;
  jf_interest interest;
  const jf_host *host;
};

static jf_str str(const char *text) {
  jf_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

static int32_t publish(void *self, const jf_ctx *ctx, const jf_pub_in *in, jf_out *out) {
  const struct plugin *plugin = self;
  const jf_host *host = plugin->host;
  (void)ctx;
  host->counter_add(host->ctx, str("seen"), 1);
  if (in->payload.len == 6 && memcmp(in->payload.ptr, "secret", 6) == 0) {
    out->verdict = JF_V_DROP;
    return JF_OK;
  }
  uint8_t *room = NULL; /* the broker's own memory: written in place, copied nowhere */
  if (host->msg_payload_buf(host->out_edit(out->sink), in->payload.len, &room) != JF_OK) return JF_FAULT;
  for (size_t i = 0; i < in->payload.len; i++) {
    uint8_t c = in->payload.ptr[i];
    room[i] = c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
  }
  return JF_OK; /* the verdict was preset to JF_V_CONTINUE */
}

static void destroy(void *self) { free(self); }

static const jf_str FILTERS[] = {{(const uint8_t *)"count/#", 7}};

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  struct plugin *plugin = calloc(1, sizeof *plugin);
  (void)config;
  if (plugin == NULL) {
    host->out_text(err_sink, str("no memory"));
    return JF_EUNAVAIL;
  }
  plugin->host = host;
  plugin->interest.size = sizeof plugin->interest;
  plugin->interest.hooks = JF_BIT(JF_HOOK_PUBLISH);
  plugin->interest.needs = JF_NEED_PAYLOAD;
  plugin->interest.publish_filters = FILTERS; /* traffic elsewhere never gets here */
  plugin->interest.n_publish_filters = 1;
  plugin->table.size = sizeof plugin->table;
  plugin->table.self = plugin;
  plugin->table.interest = &plugin->interest;
  plugin->table.publish = publish;
  plugin->table.destroy = destroy;
  *out = &plugin->table;
  return JF_OK;
}

const jf_entry jackfield_plugin_v1 = {
  .magic = JF_MAGIC, .size = sizeof jackfield_plugin_v1, .abi_major = JF_ABI_MAJOR, .abi_minor_needed = 0,
  .id = "example-c-plugin", .version = "1.0.0", .sdk = "c",
  .config_schema = "{\"type\":\"object\",\"additionalProperties\":false}",
  .hooks = JF_BIT(JF_HOOK_PUBLISH), .create = create,
};

/* {{name}}: turns degrees Celsius into Fahrenheit, or any number into another one. */
#include "json.h"
#include <math.h>
#include <stdio.h>

struct plugin {
  jf_plugin table;
  jf_interest interest;
  const jf_host *host;
  double factor, offset;
};

static jf_str str(const char *text) {
  jf_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

static int32_t publish(void *self, const jf_ctx *ctx, const jf_pub_in *in, jf_out *out) {
  const struct plugin *plugin = self;
  const jf_host *host = plugin->host;
  (void)ctx;
  double number = json_number(in->payload, NAN);
  if (!isfinite(number)) {
    host->out_text(out->sink, str("not a number"));
    out->verdict = JF_V_REJECT;
    out->reason = 0x99;
    return JF_OK;
  }
  char text[32];
  snprintf(text, sizeof text, "%.15g", number * plugin->factor + plugin->offset);
  host->counter_add(host->ctx, str("converted"), 1);
  return host->msg_set_payload(host->out_edit(out->sink), str(text)); /* the verdict was preset to JF_V_CONTINUE */
}

static void destroy(void *self) { free(self); }

/* Messages elsewhere never come here, and cost nothing. */
static const jf_str TOPICS[] = { {(const uint8_t *)"celsius/#", 9} };

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  struct plugin *plugin = calloc(1, sizeof *plugin);
  if (plugin == NULL) {
    host->out_text(err_sink, str("no memory"));
    return JF_EUNAVAIL;
  }
  plugin->host = host;
  plugin->factor = json_number(json_get(config, "factor", 6), 1);
  plugin->offset = json_number(json_get(config, "offset", 6), 0);
  plugin->interest.size = sizeof plugin->interest;
  plugin->interest.hooks = JF_BIT(JF_HOOK_PUBLISH);
  plugin->interest.needs = JF_NEED_PAYLOAD;
  plugin->interest.publish_filters = TOPICS;
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
  .id = "{{name}}", .version = "0.1.0", .sdk = "c", .hooks = JF_BIT(JF_HOOK_PUBLISH), .create = create,
  .config_schema =
    "{\"type\":\"object\",\"required\":[\"factor\",\"offset\"],\"additionalProperties\":false,\"properties\":{"
    "\"factor\":{\"type\":\"number\",\"description\":\"What a number is multiplied with.\"},"
    "\"offset\":{\"type\":\"number\",\"description\":\"What is added then.\"}}}",
};

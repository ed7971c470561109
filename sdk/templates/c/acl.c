/* {{name}}: everybody may use the topics below their own name. */
#include "json.h"

struct plugin {
  jf_plugin table;
  jf_interest interest;
  const jf_host *host;
  size_t len;       /* of the first level */
  uint8_t root[];
};

static jf_str str(const char *text) {
  jf_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

/* Takes the first level from a topic. */
static jf_str level(jf_str *topic) {
  const uint8_t *slash = topic->len == 0 ? NULL : memchr(topic->ptr, '/', topic->len);
  jf_str first = {topic->ptr, slash == NULL ? topic->len : (size_t)(slash - topic->ptr)};
  size_t taken = first.len + (slash != NULL);
  topic->ptr += taken;
  topic->len -= taken;
  return first;
}

static int equal(jf_str a, jf_str b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }

static int32_t authorize(void *self, const jf_ctx *ctx, const jf_acl_in *in, jf_out *const *outs) {
  const struct plugin *plugin = self;
  const jf_host *host = plugin->host;
  jf_str root = {plugin->root, plugin->len}, user = {NULL, 0};
  int named = host->client_get(host->ctx, ctx->client, JF_C_USERNAME, &user) == JF_OK && user.ptr != NULL;
  for (size_t i = 0; i < in->n; i++) { /* all topics of one packet come in one call */
    jf_str topic = in->topics[i];
    int own = equal(level(&topic), root) && named && equal(level(&topic), user) && topic.len > 0;
    outs[i]->verdict = own ? JF_V_ALLOW : JF_V_SKIP;
    /* The answer for a topic never changes, so the connection may remember it. */
    host->out_num(outs[i]->sink, JF_O_CACHE_MS, UINT64_MAX);
  }
  return JF_OK;
}

static void destroy(void *self) { free(self); }

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  jf_str root = json_text(json_get(config, "root", 4));
  struct plugin *plugin = calloc(1, sizeof *plugin + root.len);
  if (plugin == NULL || root.ptr == NULL) {
    free(plugin);
    host->out_text(err_sink, str("`root` is a text without escapes"));
    host->out_attr(err_sink, str("key"), str("root"));
    return JF_EINVAL;
  }
  plugin->host = host;
  plugin->len = root.len; /* lent for this call: copied */
  memcpy(plugin->root, root.ptr, root.len);
  plugin->interest.size = sizeof plugin->interest;
  plugin->interest.hooks = JF_BIT(JF_HOOK_AUTHORIZE);
  plugin->table.size = sizeof plugin->table;
  plugin->table.self = plugin;
  plugin->table.interest = &plugin->interest;
  plugin->table.authorize = authorize;
  plugin->table.destroy = destroy;
  *out = &plugin->table;
  return JF_OK;
}

const jf_entry jackfield_plugin_v1 = {
  .magic = JF_MAGIC, .size = sizeof jackfield_plugin_v1, .abi_major = JF_ABI_MAJOR, .abi_minor_needed = 0,
  .id = "{{name}}", .version = "0.1.0", .sdk = "c", .hooks = JF_BIT(JF_HOOK_AUTHORIZE), .create = create,
  .config_schema =
    "{\"type\":\"object\",\"required\":[\"root\"],\"additionalProperties\":false,\"properties\":{\"root\":"
    "{\"type\":\"string\",\"description\":\"The first level of everybody's topics: ROOT/USER/...\"}}}",
};

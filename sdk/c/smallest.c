/* The smallest plugin: lets everybody in. */
#include "jackfield_plugin.h"

static int32_t authenticate(void *self, const jf_ctx *ctx, const jf_auth_in *in, jf_out *out) {
  (void)self; (void)ctx; (void)in;
  out->verdict = JF_V_ALLOW;
  return JF_OK;
}

static const jf_interest interest = {.size = sizeof interest, .hooks = JF_BIT(JF_HOOK_AUTHENTICATE)};
static const jf_plugin instance = {.size = sizeof instance, .interest = &interest, .authenticate = authenticate};

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  (void)host; (void)config; (void)err_sink;
  *out = &instance;
  return JF_OK;
}

const jf_entry jackfield_plugin_v1 = {
  .magic = JF_MAGIC, .size = sizeof jackfield_plugin_v1, .abi_major = JF_ABI_MAJOR, .abi_minor_needed = 0,
  .id = "smallest", .version = "1.0.0", .sdk = "c", .hooks = JF_BIT(JF_HOOK_AUTHENTICATE), .create = create,
};

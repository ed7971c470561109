/* A plugin for tests that does what its options say ("mode"), also what no plugin should do. */
#include "jackfield_plugin.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifndef ENTRY_MAGIC
#define ENTRY_MAGIC JF_MAGIC
#endif
#ifndef ENTRY_MAJOR
#define ENTRY_MAJOR JF_ABI_MAJOR
#endif
#ifndef ENTRY_MINOR
#define ENTRY_MINOR JF_ABI_MINOR
#endif
#ifndef ENTRY_SIZE
#define ENTRY_SIZE sizeof(jf_entry)
#endif

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
static jf_str str(const char *s) { jf_str r = {(const uint8_t *)s, strlen(s)}; return r; }

struct instance {
  jf_plugin table;
  jf_interest interest;
  const jf_host *host;
  char mode[64];
  jf_token token;
  int cancelled;
};

static int is(struct instance *self, const char *mode) { return strcmp(self->mode, mode) == 0; }

/* ---- answering later, from threads ---- */
struct later { struct instance *self; jf_token token; void *sink; int times; int threads; int32_t status; size_t n; };

static void *complete(void *arg) {
  struct later *later = arg;
  const jf_host *host = later->self->host;
  jf_out out = {sizeof out, JF_V_ALLOW, 0, {0}, 0, NULL};
  const jf_out *outs[4] = {&out, &out, &out, &out};
  if (later->sink) { host->out_str(later->sink, JF_O_USERNAME, str("later")); out.verdict = JF_V_ALLOW; }
  if (later->status == JF_FAULT) host->fault(host->ctx, str("it broke later"));
  for (int i = 0; i < later->times; i++) {
    int32_t said = host->complete(host->ctx, later->token, later->status, outs, later->n);
    host->counter_add(host->ctx, said == JF_OK ? str("completed") : str("stale"), 1);
  }
  return NULL;
}

static void run_later(struct later *from) {
  for (int i = 0; i < from->threads; i++) {
    struct later *later = malloc(sizeof *later);
    pthread_t thread;
    *later = *from;
    pthread_create(&thread, NULL, complete, later);
    pthread_detach(thread);
  }
}

static int32_t pend(struct instance *self, const jf_ctx *ctx, jf_out *out) {
  struct later later = {self, ctx->token, out->sink, 1, 1, JF_OK, 1};
  self->token = ctx->token;
  if (is(self, "twice")) later.times = 2;
  if (is(self, "race")) { later.threads = 8; later.times = 4; }
  if (is(self, "later-fault")) later.status = JF_FAULT;
  if (is(self, "later-two")) later.n = 2;
  if (is(self, "never")) return JF_PENDING;
  if (is(self, "both")) { complete(&later); return JF_OK; }
  if (is(self, "at-once")) { complete(&later); return JF_PENDING; }
  run_later(&later);
  return JF_PENDING;
}

static int32_t authenticate(void *me, const jf_ctx *ctx, const jf_auth_in *in, jf_out *out) {
  struct instance *self = me;
  const jf_host *host = self->host;
  if (is(self, "allow")) {
    jf_str peer = {0};
    host->out_str(out->sink, JF_O_USERNAME, in->username);
    host->out_str(out->sink, JF_O_MOUNT, str("tenant/"));
    host->out_num(out->sink, JF_O_EXPIRES_S, 60);
    if (host->client_get(host->ctx, ctx->client, JF_C_PEER, &peer) == JF_OK) host->out_attr(out->sink, str("peer"), peer);
    out->verdict = JF_V_ALLOW;
    return JF_OK;
  }
  if (is(self, "deny")) { host->out_text(out->sink, str("go away")); out->reason = 0x8A; out->verdict = JF_V_DENY; return JF_OK; }
  if (is(self, "fault")) { host->fault(host->ctx, str("it broke")); return JF_FAULT; }
  if (is(self, "unavailable")) { host->fault(host->ctx, str("no database")); return JF_EUNAVAIL; }
  if (is(self, "bad-verdict")) { out->verdict = 77; return JF_OK; }
  if (is(self, "fold-verdict")) { out->verdict = JF_V_CONTINUE; return JF_OK; }
  if (is(self, "bad-status")) return 42;
  if (is(self, "bad-reason")) { out->verdict = JF_V_DENY; out->reason = 0x01; return JF_OK; }
  if (is(self, "bad-mount")) { host->out_str(out->sink, JF_O_MOUNT, str("a/#")); out->verdict = JF_V_ALLOW; return JF_OK; }
  if (is(self, "bad-text")) {
    jf_str bad = {(const uint8_t *)"a\xff", 2}, huge = {(const uint8_t *)"x", (size_t)-1}, nowhere = {NULL, 7};
    int wrong = host->out_str(out->sink, JF_O_USERNAME, bad) != JF_EINVAL || host->out_text(out->sink, huge) != JF_ETOOBIG ||
                host->out_data(out->sink, nowhere) != JF_EINVAL || host->out_str(out->sink, 9999, str("x")) != JF_EINVAL ||
                host->out_text(NULL, str("x")) != JF_EINVAL || host->msg_set_topic(NULL, str("x")) != JF_EINVAL ||
                host->client_get(host->ctx, NULL, 1, &bad) != JF_EINVAL || host->out_edit(out->sink) != NULL ||
                host->complete(host->ctx, 0, JF_OK, NULL, 0) != JF_ESTALE || host->kick(host->ctx, 1, 999, 0) != JF_EINVAL ||
                host->publish(host->ctx, NULL) == JF_OK || host->service(host->ctx, "nothing/1") != NULL;
    out->verdict = wrong ? JF_V_DENY : JF_V_SKIP;
    return JF_OK;
  }
  return pend(self, ctx, out);
}

static int32_t authorize(void *me, const jf_ctx *ctx, const jf_acl_in *in, jf_out *const *outs) {
  struct instance *self = me;
  if (is(self, "acl-later")) {
    struct later later = {self, ctx->token, NULL, 1, 1, JF_OK, in->n};
    run_later(&later);
    return JF_PENDING;
  }
  for (size_t i = 0; i < in->n; i++) {
    if (in->topics[i].len && in->topics[i].ptr[0] == 'n') { outs[i]->verdict = JF_V_DENY; continue; }
    outs[i]->verdict = JF_V_ALLOW;
    self->host->out_num(outs[i]->sink, JF_O_MAX_QOS, in->qos[i] ? 1 : 0);
    self->host->out_num(outs[i]->sink, JF_O_CACHE_MS, UINT64_MAX);
  }
  return JF_OK;
}

static int32_t publish(void *me, const jf_ctx *ctx, const jf_pub_in *in, jf_out *out) {
  struct instance *self = me;
  const jf_host *host = self->host;
  if (is(self, "pass")) return JF_OK;
  if (is(self, "shout")) {
    uint8_t *room = NULL;
    jf_msg *edit = host->out_edit(out->sink);
    host->msg_payload_buf(edit, in->payload.len, &room);
    for (size_t i = 0; i < in->payload.len; i++) room[i] = in->payload.ptr[i] - 32;
    host->msg_set_topic(edit, str("loud"));
    host->msg_prop_set(edit, 0x26, str("by"), str("c"), 0);
    jf_msg *more = host->out_emit(out->sink);
    host->msg_set_topic(more, str("more"));
    host->msg_set_payload(more, in->topic);
    out->verdict = JF_V_STOP;
    return JF_OK;
  }
  if (is(self, "emit-nothing")) { host->out_emit(out->sink); return JF_OK; }
  if (is(self, "throttle")) { out->delay_ms = 250; return JF_OK; }
  if (is(self, "reject")) { host->out_text(out->sink, str("no")); out->verdict = JF_V_REJECT; out->reason = 0x99; return JF_OK; }
  if (is(self, "never")) { self->token = ctx->token; return JF_PENDING; }
  out->verdict = JF_V_DROP;
  return JF_OK;
}

static int32_t retain(void *me, const jf_ctx *ctx, const jf_pub_in *in, jf_out *out) {
  struct instance *self = me;
  (void)in;
  if (ctx->token != 0) return JF_EINVAL;
  if (is(self, "pend-at-once")) return JF_PENDING;
  self->host->out_num(out->sink, JF_O_RETAIN_S, 9);
  return JF_OK;
}

static void cancel(void *me, jf_token token) {
  struct instance *self = me;
  const jf_host *host = self->host;
  self->cancelled++;
  self->token = token;
  host->counter_add(host->ctx, str("cancelled"), 1);
}

static void on_timer(void *me, jf_handle timer) {
  /* A late completion of the call that was cancelled: its sink is still there. */
  struct instance *self = me;
  const jf_host *host = self->host;
  (void)timer;
  void *sink = host->pending_sink(host->ctx, self->token);
  if (sink && host->out_text(sink, str("late")) == JF_OK) host->counter_add(host->ctx, str("late-sink"), 1);
  if (host->complete(host->ctx, self->token, JF_OK, NULL, 0) == JF_ESTALE) host->counter_add(host->ctx, str("stale"), 1);
  if (host->pending_sink(host->ctx, self->token) == NULL) host->counter_add(host->ctx, str("freed"), 1);
}

/* ---- a store of one record, a bridge ---- */
static int32_t store_commit(void *me, jf_token token, const jf_store_op *const *ops, size_t n, uint32_t want) {
  (void)me; (void)token; (void)want;
  for (size_t i = 0; i < n; i++) if (ops[i]->kind == 2) return JF_ECONFLICT;
  return JF_OK;
}
static int32_t store_get(void *me, jf_token token, jf_str key, void *sink) {
  struct instance *self = me;
  (void)token;
  return key.len == 1 ? self->host->out_data(sink, str("value")) : JF_ENOENT;
}
static int32_t store_scan(void *me, jf_token token, jf_str prefix, jf_str after, uint32_t max, void *sink) {
  struct instance *self = me;
  (void)token; (void)after; (void)max; (void)prefix;
  self->host->out_attr(sink, str("b"), str("2"));
  self->host->out_attr(sink, is(self, "unsorted") ? str("a") : str("c"), str("3"));
  return JF_OK;
}
static const jf_session_store STORE = {sizeof STORE, JF_D_FSYNC, 1000, 100, 0, 0, store_commit, store_get, store_scan};
static int32_t egress(void *me, jf_token token, const jf_pub_in *const *batch, size_t n, void *sink) {
  struct instance *self = me;
  (void)token;
  return self->host->out_num(sink, JF_O_TAKEN, is(self, "greedy") ? n + 1 : batch[0]->payload.len == 0 ? 0 : n - 1);
}
static int32_t ingress(void *me, jf_token token, void *sink) {
  struct instance *self = me;
  (void)token;
  return self->host->msg_set_topic(self->host->out_emit(sink), str("in"));
}
static const jf_bridge BRIDGE = {sizeof BRIDGE, 0, egress, ingress};

static const void *extension(void *me, const char *name) {
  (void)me;
  if (strcmp(name, "session-store/1") == 0) return &STORE;
  return strcmp(name, "bridge/1") == 0 ? (const void *)&BRIDGE : NULL;
}

static int32_t start(void *me) {
  struct instance *self = me;
  self->host->log(self->host->ctx, 2, str("started"));
  return is(self, "no-start") ? JF_EUNAVAIL : JF_OK;
}
static int32_t health(void *me, void *sink) {
  struct instance *self = me;
  if (!is(self, "ill")) return JF_OK;
  self->host->out_text(sink, str("not well"));
  return JF_EUNAVAIL;
}
static int32_t save_state(void *me, void *sink) { struct instance *self = me; return self->host->out_data(sink, str("state")); }
static int32_t load_state(void *me, jf_str from, jf_str state) { (void)me; return from.len == 5 && state.len == 5 ? JF_OK : JF_EINVAL; }

static void destroy(void *me) { free(me); }

static int has(jf_str config, const char *what) {
  size_t n = strlen(what);
  for (size_t i = 0; i + n <= config.len; i++) if (memcmp(config.ptr + i, what, n) == 0) return 1;
  return 0;
}

static int32_t check_config(jf_str config, void *err_sink, const jf_host *host) {
  if (!has(config, "wrong")) return JF_OK;
  host->out_text(err_sink, str("must be right"));
  host->out_attr(err_sink, str("key"), str("mode"));
  return JF_EINVAL;
}

static const jf_str FILTERS[] = {{(const uint8_t *)"a/+", 3}};
static const jf_str BAD_FILTERS[] = {{(const uint8_t *)"a/#/b", 5}};

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  struct instance *self = calloc(1, sizeof *self);
  size_t start_at = 0, n = 0;
  while (start_at + 8 < config.len && memcmp(config.ptr + start_at, "\"mode\":\"", 8) != 0) start_at++;
  start_at += 8;
  while (start_at + n < config.len && config.ptr[start_at + n] != '"' && n < sizeof self->mode - 1) { self->mode[n] = (char)config.ptr[start_at + n]; n++; }
  self->host = host;
  self->interest = (jf_interest){.size = sizeof self->interest,
    .hooks = JF_BIT(JF_HOOK_AUTHENTICATE) | JF_BIT(JF_HOOK_AUTHORIZE) | JF_BIT(JF_HOOK_PUBLISH) | JF_BIT(JF_HOOK_RETAIN),
    .needs = JF_NEED_PAYLOAD | JF_NEED_PROPS, .publish_filters = FILTERS, .n_publish_filters = COUNT(FILTERS)};
  self->table = (jf_plugin){.size = sizeof self->table, .self = self, .interest = &self->interest, .start = start, .health = health,
    .save_state = save_state, .load_state = load_state, .destroy = destroy, .on_timer = on_timer, .cancel = cancel,
    .authenticate = authenticate, .authorize = authorize, .publish = publish, .retain = retain, .extension = extension};
  *out = &self->table;
  if (has(config, "\"pool\"")) { self->interest.flags = JF_F_BLOCKING; self->interest.hooks &= ~JF_BIT(JF_HOOK_RETAIN); }
  if (has(config, "\"serial\"")) { self->interest.flags = JF_F_SERIAL; self->interest.hooks &= ~JF_BIT(JF_HOOK_RETAIN); }
  if (is(self, "serial-retain")) self->interest.flags = JF_F_SERIAL;
  if (is(self, "null-function")) self->table.publish = NULL;
  if (is(self, "unoffered")) self->interest.hooks |= JF_BIT(JF_HOOK_WILL);
  if (is(self, "unheard-of")) self->interest.hooks |= 1ull << 50;
  if (is(self, "bad-filter")) self->interest.publish_filters = BAD_FILTERS;
  if (is(self, "huge-list")) self->interest.n_publish_filters = (size_t)-1;
  if (is(self, "no-interest")) self->table.interest = NULL;
  if (is(self, "no-table")) *out = NULL;
  if (memcmp(self->mode, "size-", 5) == 0) self->table.size = (uint32_t)atoi(self->mode + 5);
  if (memcmp(self->mode, "isize-", 6) == 0) self->interest.size = (uint32_t)atoi(self->mode + 6);
  if (is(self, "no-create")) { host->out_text(err_sink, str("not today")); return JF_EUNAVAIL; }
  return JF_OK;
}

static const char *const EXTENSIONS[] = {"session-store/1", "bridge/1", NULL};
const jf_entry jackfield_plugin_v1 = {ENTRY_MAGIC, ENTRY_SIZE, ENTRY_MAJOR, ENTRY_MINOR, 0, "test.c", "1.0.0", "none", NULL,
  JF_BIT(JF_HOOK_AUTHENTICATE) | JF_BIT(JF_HOOK_AUTHORIZE) | JF_BIT(JF_HOOK_PUBLISH) | JF_BIT(JF_HOOK_RETAIN), EXTENSIONS, check_config, create};

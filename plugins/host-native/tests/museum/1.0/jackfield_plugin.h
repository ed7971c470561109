/* jackfield_plugin.h - native plugin ABI, major 1, minor 0.
 * Rules that hold everywhere:
 *  R1 every struct that crosses starts with `size`: set by the side that allocates it, to what it allocated, and
 *     left alone by the other. Both sides touch a field added after 1.0 only if size covers it. Fields are only ever
 *     appended; so structs cross as pointers or arrays of pointers, never as arrays of structs (jf_str is frozen).
 *  R2 borrow in, copy out: pointers given to a call are valid until it returns, also when it returns
 *     JF_PENDING (copy first what you need later). No heap block ever changes owner.
 *     A pending call ends with exactly one complete(), even after cancel(); the sink and messages of
 *     its token live until then, so a late writer never writes into freed memory.
 *     A text that comes from a plugin is UTF-8 without U+0000 and at most 65,535 bytes, or the call it
 *     is given to returns JF_EINVAL or JF_ETOOBIG.
 *  R3 every function is nounwind. A panic or C++ exception that leaves a plugin function ends the process.
 *  R4 thread tags: [any] may run concurrently on any thread; [control] never runs concurrently with
 *     another [control] call of the same instance, but may overlap [any] calls.                     */
#ifndef JACKFIELD_PLUGIN_H
#define JACKFIELD_PLUGIN_H
#include <stddef.h>
#include <stdint.h>
#define JF_MAGIC 0x3150464au            /* "JFP1" */
#define JF_ABI_MAJOR 1
#define JF_ABI_MINOR 0
#define JF_HAS(p, type, field) ((p)->size >= offsetof(type, field) + sizeof((p)->field))

typedef struct jf_str { const uint8_t *ptr; size_t len; } jf_str;   /* not NUL-terminated; ptr NULL = absent */
typedef struct jf_client jf_client;     /* opaque, borrowed for the call; use handle to keep it */
typedef struct jf_msg jf_msg;           /* opaque message under construction, host-owned */
typedef uint64_t jf_token;              /* generation-tagged; stale or doubled completions are refused */
typedef uint64_t jf_handle;             /* stable client/timer/subscription id, 0 = none */

/* JF_FAULT: the plugin's own code failed (counted as a panic). JF_EUNAVAIL: something it depends on did. A hook that
   returns anything else below 0, or a verdict that it doesn't have, has broken the rules. None of these is a verdict:
   the operator's `on_error` says what happens. */
enum { JF_OK = 0, JF_PENDING = 1, JF_FAULT = -1, JF_EINVAL = -2, JF_EDENIED = -3, JF_EQUOTA = -4,
       JF_ENOENT = -5, JF_ECONFLICT = -6, JF_ETOOBIG = -7, JF_EUNSUP = -8, JF_ESTALE = -9,
       JF_EUNAVAIL = -10, JF_EREADONLY = -11, JF_ECORRUPT = -12 };

enum { JF_HOOK_ACCEPT = 0, JF_HOOK_CONNECT, JF_HOOK_AUTHENTICATE, JF_HOOK_AUTH_EXCHANGE,
       JF_HOOK_AUTHORIZE, JF_HOOK_SUBSCRIBE, JF_HOOK_UNSUBSCRIBE, JF_HOOK_PUBLISH, JF_HOOK_RETAIN,
       JF_HOOK_DELIVER, JF_HOOK_WILL, JF_HOOK_EVENT, JF_HOOK_CONTROL, JF_HOOK_SHARE_PICK };
#define JF_BIT(h) (1ull << (h))

enum { JF_E_CONNECTED = 0, JF_E_DISCONNECTED, JF_E_SESSION_CREATED, JF_E_SESSION_RESUMED, JF_E_SESSION_TAKEN_OVER,
       JF_E_SESSION_EXPIRED, JF_E_SUBSCRIBED, JF_E_UNSUBSCRIBED, JF_E_PUBLISHED, JF_E_DELIVERED, JF_E_ACKED, JF_E_DROPPED,
       JF_E_WILL_FIRED, JF_E_RETAINED_SET, JF_E_RETAINED_CLEARED, JF_E_AUTH_FAILED };
enum { JF_C_CLIENT_ID = 1, JF_C_USERNAME, JF_C_LISTENER, JF_C_PEER, JF_C_PROTOCOL, JF_C_MOUNT, JF_C_CERT_DER }; /* client_get */

enum { JF_NEED_PAYLOAD = 1, JF_NEED_PROPS = 2, JF_NEED_ATTRS = 4, JF_NEED_CERT = 8 };
enum { JF_F_SERIAL = 1,        /* host calls hooks of this instance one at a time */
       JF_F_BLOCKING = 2,      /* hooks may block; host runs them on its blocking pool. Without it they run on the
                                  connection's own thread and must return within microseconds */
       JF_F_RELOAD = 4 };      /* supports reconfigure() in place */

typedef struct jf_interest {
  uint32_t size; uint32_t flags;
  uint64_t hooks;                       /* JF_BIT(..) set; the core never calls anything else. accept, retain and
                                           share_pick answer at once: not together with JF_F_SERIAL or JF_F_BLOCKING */
  uint64_t events;                      /* for JF_HOOK_EVENT: JF_BIT(JF_E_*) */
  uint32_t needs; uint32_t max_payload; /* larger messages pass it by; 0 = any size */
  const jf_str *publish_filters; size_t n_publish_filters;   /* none = every topic */
  const jf_str *deliver_filters; size_t n_deliver_filters;
  const jf_str *auth_methods;    size_t n_auth_methods;      /* enhanced auth methods owned */
  const jf_str *control_prefixes; size_t n_control_prefixes; /* $CONTROL/<prefix>/# */
} jf_interest;

/* ---- events in, verdicts out ------------------------------------------------------------ */
typedef struct jf_ctx { uint32_t size; uint32_t attempt; const jf_client *client; /* NULL in deliver: it serves a class */ jf_handle client_id;
                        uint64_t deadline_ns; /* nanoseconds from now that the answer may take, 0 = not known */
                        jf_token token; /* 0 if this call may not go pending */ } jf_ctx;
typedef struct jf_out { uint32_t size; uint32_t verdict; /* JF_V_*, preset to SKIP or CONTINUE */
                        uint8_t reason; /* with DENY, REJECT, DISCONNECT: the Reason Code, 0 = Not authorized */ uint8_t rsv[3];
                        uint32_t delay_ms; /* accept, publish, with CONTINUE: hold this client's input that long */
                        void *sink; /* pass to host->out_* to attach text (the Reason String), data, attributes */ } jf_out;

enum { JF_V_SKIP = 0, JF_V_ALLOW, JF_V_DENY, JF_V_CHALLENGE,            /* decision hooks; auth_exchange: not SKIP */
       JF_V_CONTINUE = 0x10, JF_V_STOP /* edits kept, chain ends */, JF_V_DROP /* acknowledged as success, goes nowhere; what
       out_emit added still goes out. In retain: pass without storing */, JF_V_REJECT, JF_V_DISCONNECT }; /* fold hooks */
/*  accept: CONTINUE DROP | connect, subscribe: CONTINUE STOP REJECT | unsubscribe: CONTINUE | publish: all |
    retain: CONTINUE DROP | deliver, will: CONTINUE STOP DROP | control: CONTINUE (out_data = the reply) REJECT   */

enum { JF_O_CLIENT_ID = 1, JF_O_USERNAME, JF_O_MOUNT, JF_O_FILTER /* without the share */, JF_O_SERVER_REF,
       JF_O_KEEPALIVE_CAP = 64, JF_O_SESSION_CAP, JF_O_SUB_CLASS, JF_O_MAX_QOS, JF_O_CACHE_MS /* absent: not cached; UINT64_MAX: until invalidate() */, JF_O_EXPIRES_S, JF_O_RETAIN_S,
       JF_O_TAKEN /* bridge egress: how many of the batch, from its start, are taken; absent: all */ };

typedef struct jf_accept_in { uint32_t size; uint32_t port; jf_str listener, peer_ip, sni, alpn, tls_version; } jf_accept_in;
typedef struct jf_auth_in { uint32_t size; uint32_t proto; /* 3, 4, 5 */ jf_str client_id, username, password, cert_der, cert_cn; uint32_t clean_start; uint32_t session_expiry; } jf_auth_in;
typedef struct jf_exchange_in { uint32_t size; uint32_t phase; /* 0 start 1 continue 2 re-auth 3 abandoned */ uint64_t exchange; jf_str method, data; } jf_exchange_in;
typedef struct jf_acl_in { uint32_t size; uint32_t action; /* 1 publish 2 subscribe 3 receive */ const jf_str *topics; const uint8_t *qos; size_t n; uint32_t retain; uint32_t rsv; } jf_acl_in;
typedef struct jf_sub_in { uint32_t size; uint32_t options; /* as in SUBSCRIBE: bits 0-1 QoS, bit 2 No Local */ jf_str filter, share; uint32_t sub_id; uint32_t rsv; } jf_sub_in;
typedef struct jf_pub_in { uint32_t size; uint8_t qos, retain, dup, source; /* 0 client 1 will 2 bridge 3 plugin 4 retained 5 embedder */
                           jf_str topic, payload, content_type; const void *props; } jf_pub_in; /* edits: host->out_edit(sink) */
typedef struct jf_deliver_in { uint32_t size; uint32_t subscriber_class; jf_pub_in pub; } jf_deliver_in;
typedef struct jf_event_in { uint32_t size; uint32_t kind; uint64_t at_ms; jf_handle client_id; jf_str client_name, topic; uint8_t reason; uint8_t by_server; uint8_t rsv[6]; } jf_event_in;
typedef struct jf_control_in { uint32_t size; uint32_t rsv; jf_str topic, payload; } jf_control_in;

/* ---- providers: what a plugin offers beyond hooks, asked for by name through jf_plugin.extension ------- */
typedef struct jf_store_op { uint32_t size; uint32_t kind; /* 0 put, 1 delete, 2 expect (value.ptr NULL = absent) */ jf_str key, value; } jf_store_op;
enum { JF_D_MEMORY = 0, JF_D_ASYNC, JF_D_FSYNC, JF_D_REPLICATED }; /* durability, see jf_session_store.commit */
typedef struct jf_session_store {       /* "session-store/1": ordered key-value records, opaque to the plugin */
  uint32_t size; uint32_t durability;   /* the strongest JF_D_* that commit can promise */
  uint64_t max_batch, max_value;        /* bytes */
  uint32_t shared; uint32_t rsv;        /* 1 = several brokers may use it at once */
  int32_t (*commit)(void *self, jf_token, const jf_store_op *const *ops, size_t n, uint32_t want); /* [any] all or nothing; done = as durable as JF_D_* want */
  int32_t (*get)(void *self, jf_token, jf_str key, void *sink);                          /* [any] value by host->out_data, or JF_ENOENT */
  int32_t (*scan)(void *self, jf_token, jf_str prefix, jf_str after, uint32_t max, void *sink); /* [any] rows by host->out_attr, key order */
} jf_session_store;
typedef struct jf_bridge {              /* "bridge/1" */
  uint32_t size; uint32_t rsv;
  int32_t (*egress)(void *self, jf_token, const jf_pub_in *const *batch, size_t n, void *sink);  /* [any] JF_O_TAKEN by host->out_num */
  int32_t (*ingress)(void *self, jf_token, void *sink);                                  /* [any] messages by host->out_emit */
} jf_bridge;

typedef struct jf_plugin {              /* one per instance, owned by the plugin, immutable from create() until destroy() */
  uint32_t size; uint32_t rsv; void *self; const jf_interest *interest;
  int32_t (*start)(void *self);                                                          /* [control] */
  int32_t (*reconfigure)(void *self, jf_str config_json, void *err_sink);                /* [control] */
  int32_t (*health)(void *self, void *err_sink);                                         /* [any] asked before a swap goes live */
  int32_t (*save_state)(void *self, void *sink);                                         /* [control] old generation, after its last call */
  int32_t (*load_state)(void *self, jf_str from_version, jf_str state);                  /* [control] new generation, before its first call */
  int32_t (*drain)(void *self, uint64_t deadline_ns);                                    /* [control] no new calls follow */
  void    (*destroy)(void *self);                                                        /* [control] last call ever */
  void    (*on_timer)(void *self, jf_handle timer);                                      /* [any] */
  void    (*cancel)(void *self, jf_token);                                               /* [any] host no longer waits; complete() still due */
  int32_t (*accept)(void *, const jf_ctx *, const jf_accept_in *, jf_out *);             /* [any], never pending */
  int32_t (*authenticate)(void *, const jf_ctx *, const jf_auth_in *, jf_out *);         /* [any] */
  int32_t (*auth_exchange)(void *, const jf_ctx *, const jf_exchange_in *, jf_out *);
  int32_t (*authorize)(void *, const jf_ctx *, const jf_acl_in *, jf_out *const *outs /* n of them, as many as topics */);
  int32_t (*connect)(void *, const jf_ctx *, const jf_auth_in *, jf_out *);
  int32_t (*subscribe)(void *, const jf_ctx *, const jf_sub_in *, jf_out *);
  int32_t (*unsubscribe)(void *, const jf_ctx *, const jf_sub_in *, jf_out *);
  int32_t (*publish)(void *, const jf_ctx *, const jf_pub_in *, jf_out *);
  int32_t (*retain)(void *, const jf_ctx *, const jf_pub_in *, jf_out *);
  int32_t (*deliver)(void *, const jf_ctx *, const jf_deliver_in *, jf_out *);
  int32_t (*will)(void *, const jf_ctx *, const jf_pub_in *, jf_out *);
  void    (*events)(void *, const jf_event_in *const *batch, size_t n);                  /* [any], ordered per client */
  int32_t (*control)(void *, const jf_ctx *, const jf_control_in *, jf_out *);
  int32_t (*share_pick)(void *, const jf_pub_in *, jf_str group, const jf_handle *members /* 0 = not known */, const uint32_t *inflight, size_t n); /* index, or -1 */
  const void *(*extension)(void *self, const char *name_and_major); /* [control] "session-store/1" -> jf_session_store, "bridge/1" -> jf_bridge; NULL = absent */
} jf_plugin;

typedef struct jf_host {                /* valid from create() until destroy() returns */
  uint32_t size; uint16_t abi_major, abi_minor; void *ctx;
  void     (*log)(void *ctx, uint32_t level /* 0 trace 1 debug 2 info 3 warn 4 error */, jf_str text);
  void     (*fault)(void *ctx, jf_str text);                       /* detail for the failure this thread is about to return or complete() */
  uint64_t (*now_ms)(void *ctx); uint64_t (*mono_ns)(void *ctx);
  int32_t  (*complete)(void *ctx, jf_token, int32_t status, const jf_out *const *outs, size_t n); /* finish a pending call, from any
                                        thread: status = what the call would have returned (JF_OK, JF_FAULT, …), outs as many as it had */
  void    *(*pending_sink)(void *ctx, jf_token);                   /* the sink of the (first) jf_out of that call, for use before complete(); NULL = stale */
  int32_t  (*out_text)(void *sink, jf_str); int32_t (*out_data)(void *sink, jf_str);
  int32_t  (*out_attr)(void *sink, jf_str key, jf_str value);
  int32_t  (*out_str)(void *sink, uint32_t field, jf_str);         /* JF_O_* */
  int32_t  (*out_num)(void *sink, uint32_t field, uint64_t);
  jf_msg  *(*out_edit)(void *sink);                                /* patch of the current message, applied on success only */
  int32_t  (*msg_set_topic)(jf_msg *, jf_str); int32_t (*msg_set_flags)(jf_msg *, uint32_t qos, uint32_t retain);
  int32_t  (*msg_set_payload)(jf_msg *, jf_str);                   /* copies */
  int32_t  (*msg_payload_buf)(jf_msg *, size_t len, uint8_t **out);/* zeroed, write in place, no copy; until the next msg_set_payload or msg_payload_buf */
  /* id: 0x01 Payload Format (num), 0x02 Message Expiry (num), 0x03 Content Type, 0x08 Response Topic, 0x09 Correlation
     Data (value), 0x26 User Property (key and value; set adds one more) */
  int32_t  (*msg_prop_get)(const void *props, uint32_t id, size_t nth, jf_str *key, jf_str *value, uint64_t *num);
  int32_t  (*msg_prop_set)(jf_msg *, uint32_t id, jf_str key, jf_str value, uint64_t num);
  int32_t  (*msg_prop_clear)(jf_msg *, uint32_t id);
  jf_msg  *(*out_emit)(void *sink);                                /* one more output message */
  jf_msg  *(*msg_new)(void *ctx); int32_t (*publish)(void *ctx, jf_msg *); /* copies, only enqueues */ void (*msg_free)(jf_msg *);
  int32_t  (*client_get)(void *ctx, const jf_client *, uint32_t field, jf_str *out);      /* JF_C_* */
  int32_t  (*client_attr)(void *ctx, const jf_client *, jf_str key, jf_str *out);
  int32_t  (*client_by_id)(void *ctx, jf_handle, void (*with)(void *u, const jf_client *), void *u);
  int32_t  (*kick)(void *ctx, jf_handle, uint32_t reason, uint32_t send_will);
  int32_t  (*invalidate)(void *ctx, jf_handle);                    /* drop this client's cached decisions; 0 = everybody's */
  jf_handle(*timer)(void *ctx, uint64_t first_ms, uint64_t every_ms); void (*timer_stop)(void *ctx, jf_handle);
  void     (*counter_add)(void *ctx, jf_str name, uint64_t); void (*gauge_set)(void *ctx, jf_str name, double); void (*histogram)(void *ctx, jf_str name, double);
  const void *(*service)(void *ctx, const char *name_and_major);   /* "kv/1" "http/1" "subscribe/1" …; NULL = absent or not granted */
} jf_host;

typedef struct jf_entry {
  uint32_t magic; uint32_t size; uint16_t abi_major, abi_minor_needed; uint32_t flags;
  const char *id, *version, *sdk;       /* "org.example.jwt-auth", "1.4.0", "rust-sdk 1.0.0" */
  const char *config_schema;            /* JSON Schema of the options, or NULL; checked before create() */
  uint64_t hooks;                       /* JF_BIT(..) of all an instance may offer; its interest.hooks is a subset */
  const char *const *extensions;        /* "session-store/1", …, NULL at the end; NULL = none */
  /* err_sink: out_text says what is wrong, out_attr "key" = which option, dotted */
  int32_t (*check_config)(jf_str config_json, void *err_sink, const jf_host *);          /* [control] pure, may be NULL */
  int32_t (*create)(const jf_host *, jf_str config_json, void *err_sink, const jf_plugin **out);/* [control] */
} jf_entry;
#if defined(_WIN32)
#define JF_EXPORT __declspec(dllexport)
#else
#define JF_EXPORT __attribute__((visibility("default")))
#endif
JF_EXPORT extern const jf_entry jackfield_plugin_v1;   /* the only symbol a plugin must export */
#endif

/* {{name}}: carries messages over UDP: one datagram for each, the Topic Name, a line end, the payload. Nobody says whether it
   arrived, so this is for what comes again anyway, like measurements. */
#define _POSIX_C_SOURCE 200809L
#include "json.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { DATAGRAM_MAX = 65507 };

struct plugin {
  jf_plugin table;
  jf_interest interest;
  const jf_host *host;
  struct sockaddr_in bind, peer;
  int socket; /* -1: not started */
};

static jf_str str(const char *text) {
  jf_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

/* Reads `127.0.0.1:7001`. */
static int address(jf_str text, struct sockaddr_in *out) {
  char room[32], *colon;
  if (text.ptr == NULL || text.len >= sizeof room) return 0;
  memcpy(room, text.ptr, text.len);
  room[text.len] = '\0';
  if ((colon = strrchr(room, ':')) == NULL) return 0;
  *colon = '\0';
  double port = json_number(str(colon + 1), -1);
  memset(out, 0, sizeof *out);
  out->sin_family = AF_INET;
  out->sin_port = htons((uint16_t)port);
  return port >= 0 && port <= 65535 && inet_pton(AF_INET, room, &out->sin_addr) == 1;
}

static int32_t failed(const struct plugin *plugin, const char *what) {
  plugin->host->fault(plugin->host->ctx, str(what));
  return JF_EUNAVAIL;
}

static int32_t start(void *self) {
  struct plugin *plugin = self;
  struct timeval wait = {.tv_usec = 200000};
  plugin->socket = socket(AF_INET, SOCK_DGRAM, 0);
  if (plugin->socket < 0) return failed(plugin, "no socket");
  setsockopt(plugin->socket, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  if (bind(plugin->socket, (struct sockaddr *)&plugin->bind, sizeof plugin->bind) != 0)
    return failed(plugin, "the address `bind` can't be used");
  return JF_OK;
}

static int32_t egress(void *self, jf_token token, const jf_pub_in *const *batch, size_t n, void *sink) {
  const struct plugin *plugin = self;
  (void)token; (void)sink; /* all are taken unless JF_O_TAKEN says otherwise */
  for (size_t i = 0; i < n; i++) {
    jf_str topic = batch[i]->topic, payload = batch[i]->payload;
    size_t len = topic.len + 1 + payload.len;
    if (len > DATAGRAM_MAX) continue; /* no datagram is that long */
    uint8_t *datagram = malloc(len);
    if (datagram == NULL) return failed(plugin, "no memory");
    memcpy(datagram, topic.ptr, topic.len);
    datagram[topic.len] = '\n';
    if (payload.len > 0) memcpy(datagram + topic.len + 1, payload.ptr, payload.len);
    ssize_t sent = sendto(plugin->socket, datagram, len, 0, (const struct sockaddr *)&plugin->peer, sizeof plugin->peer);
    free(datagram);
    if (sent < 0) return failed(plugin, "the datagram wasn't sent");
  }
  return JF_OK;
}

static int32_t ingress(void *self, jf_token token, void *sink) {
  const struct plugin *plugin = self;
  const jf_host *host = plugin->host;
  (void)token;
  uint8_t *datagram = malloc(DATAGRAM_MAX);
  if (datagram == NULL) return failed(plugin, "no memory");
  ssize_t len = recv(plugin->socket, datagram, DATAGRAM_MAX, 0);
  uint8_t *end = len > 0 ? memchr(datagram, '\n', (size_t)len) : NULL;
  int32_t status = JF_OK; /* nothing has come, or nothing of ours: the broker asks again */
  if (len < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) status = failed(plugin, "nothing can be read");
  if (end != NULL) {
    jf_str topic = {datagram, (size_t)(end - datagram)}, payload = {end + 1, (size_t)len - topic.len - 1};
    jf_msg *message = host->out_emit(sink);
    if (host->msg_set_topic(message, topic) != JF_OK || host->msg_set_payload(message, payload) != JF_OK)
      status = failed(plugin, "a datagram with a topic that is none");
  }
  free(datagram);
  return status;
}

static const jf_bridge BRIDGE = {.size = sizeof BRIDGE, .egress = egress, .ingress = ingress};

static const void *extension(void *self, const char *name) {
  (void)self;
  return strcmp(name, "bridge/1") == 0 ? &BRIDGE : NULL;
}

static void destroy(void *self) {
  struct plugin *plugin = self;
  if (plugin->socket >= 0) close(plugin->socket);
  free(plugin);
}

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  struct plugin *plugin = calloc(1, sizeof *plugin);
  if (plugin == NULL) {
    host->out_text(err_sink, str("no memory"));
    return JF_EUNAVAIL;
  }
  if (!address(json_text(json_get(config, "bind", 4)), &plugin->bind) ||
      !address(json_text(json_get(config, "peer", 4)), &plugin->peer)) {
    free(plugin);
    host->out_text(err_sink, str("`bind` and `peer` are addresses like 127.0.0.1:7001"));
    return JF_EINVAL;
  }
  plugin->host = host;
  plugin->socket = -1;
  plugin->interest.size = sizeof plugin->interest;
  plugin->interest.flags = JF_F_BLOCKING; /* its calls wait for the network */
  plugin->table.size = sizeof plugin->table;
  plugin->table.self = plugin;
  plugin->table.interest = &plugin->interest;
  plugin->table.start = start;
  plugin->table.extension = extension;
  plugin->table.destroy = destroy;
  *out = &plugin->table;
  return JF_OK;
}

static const char *const EXTENSIONS[] = {"bridge/1", NULL};

const jf_entry jackfield_plugin_v1 = {
  .magic = JF_MAGIC, .size = sizeof jackfield_plugin_v1, .abi_major = JF_ABI_MAJOR, .abi_minor_needed = 0,
  .id = "{{name}}", .version = "0.1.0", .sdk = "c", .extensions = EXTENSIONS, .create = create,
  .config_schema =
    "{\"type\":\"object\",\"required\":[\"bind\",\"peer\"],\"additionalProperties\":false,\"properties\":{"
    "\"bind\":{\"type\":\"string\",\"description\":\"The address where datagrams come in, like 127.0.0.1:7001.\"},"
    "\"peer\":{\"type\":\"string\",\"description\":\"The address where they go to.\"}}}",
};

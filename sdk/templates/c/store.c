/* {{name}}: keeps Sessions, queues and Retained Messages in one file: a log of batches, read into memory at start. Simple and
   safe; the file only grows, so what a busy broker wants is yours to add. */
#define _POSIX_C_SOURCE 200809L
#include "json.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct record { uint8_t *key, *value; size_t key_len, value_len; } record;

struct plugin {
  jf_plugin table;
  jf_interest interest;
  const jf_host *host;
  pthread_mutex_t lock;
  record *records; /* in the order of keys */
  size_t n, room;
  int file;        /* -1: not started, or broken by a write that failed half-way */
  char path[1024];
};

static jf_str str(const char *text) {
  jf_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

static int32_t failed(const struct plugin *plugin, int32_t status, const char *what) {
  plugin->host->fault(plugin->host->ctx, str(what));
  return status;
}

static int compare(jf_str a, const record *b) {
  size_t len = a.len < b->key_len ? a.len : b->key_len;
  int order = len == 0 ? 0 : memcmp(a.ptr, b->key, len);
  return order != 0 ? order : (a.len > b->key_len) - (a.len < b->key_len);
}

/* The first record whose key isn't before `key`. */
static size_t seek(const struct plugin *plugin, jf_str key) {
  size_t low = 0, high = plugin->n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compare(key, &plugin->records[middle]) > 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

static int is_at(const struct plugin *plugin, size_t at, jf_str key) {
  return at < plugin->n && compare(key, &plugin->records[at]) == 0;
}

static uint8_t *copy(jf_str bytes) {
  uint8_t *own = malloc(bytes.len + 1); /* never NULL for no bytes */
  if (own != NULL && bytes.len > 0) memcpy(own, bytes.ptr, bytes.len);
  return own;
}

/* Sets or removes a key; false: no memory. */
static int apply(struct plugin *plugin, jf_str key, const jf_str *value) {
  size_t at = seek(plugin, key);
  int there = is_at(plugin, at, key);
  record *found = there ? &plugin->records[at] : NULL;
  if (value == NULL) {
    if (!there) return 1;
    free(found->key);
    free(found->value);
    plugin->n--;
    memmove(found, found + 1, (plugin->n - at) * sizeof *found);
    return 1;
  }
  uint8_t *own = copy(*value);
  if (own == NULL) return 0;
  if (there) {
    free(found->value);
    found->value = own;
    found->value_len = value->len;
    return 1;
  }
  if (plugin->n == plugin->room) {
    size_t room = plugin->room * 2 + 64;
    record *grown = realloc(plugin->records, room * sizeof *grown);
    if (grown == NULL) { free(own); return 0; }
    plugin->records = grown;
    plugin->room = room;
  }
  record fresh = {copy(key), own, key.len, value->len};
  if (fresh.key == NULL) { free(own); return 0; }
  memmove(plugin->records + at + 1, plugin->records + at, (plugin->n - at) * sizeof fresh);
  plugin->records[at] = fresh;
  plugin->n++;
  return 1;
}

/* FNV-1a: finds a write that was cut, not somebody who means harm. */
static uint64_t checksum(const uint8_t *bytes, size_t len) {
  uint64_t sum = 0xcbf29ce484222325u;
  for (size_t i = 0; i < len; i++) sum = (sum ^ bytes[i]) * 0x100000001b3u;
  return sum;
}

/* A batch in the file: its length, its checksum, its operations; numbers as this machine writes them. */
enum { HEAD = sizeof(uint32_t) + sizeof(uint64_t) };

static size_t put(uint8_t *at, const void *bytes, size_t len) {
  if (len > 0) memcpy(at, bytes, len);
  return len;
}

static size_t put_part(uint8_t *at, jf_str part) {
  uint32_t len = (uint32_t)part.len;
  put(at, &len, sizeof len);
  return sizeof len + put(at + sizeof len, part.ptr, part.len);
}

static int take_part(const uint8_t **at, const uint8_t *end, jf_str *part) {
  uint32_t len;
  if ((size_t)(end - *at) < sizeof len) return 0;
  memcpy(&len, *at, sizeof len);
  *at += sizeof len;
  if ((size_t)(end - *at) < len) return 0;
  part->ptr = *at;
  part->len = len;
  *at += len;
  return 1;
}

/* Applies the operations of a batch; false: no memory, or it is none. */
static int replay(struct plugin *plugin, const uint8_t *at, const uint8_t *end) {
  while (at < end) {
    int is_set = *at++;
    jf_str key, value;
    if (!take_part(&at, end, &key) || (is_set && !take_part(&at, end, &value))) return 0;
    if (!apply(plugin, key, is_set ? &value : NULL)) return 0;
  }
  return 1;
}

static int32_t start(void *self) {
  struct plugin *plugin = self;
  struct stat about;
  int file = open(plugin->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0 || fstat(file, &about) != 0) return failed(plugin, JF_EUNAVAIL, "the file can't be opened");
  size_t len = (size_t)about.st_size, had = 0, whole = 0;
  uint8_t *content = malloc(len + 1);
  while (content != NULL && had < len) {
    ssize_t got = read(file, content + had, len - had);
    if (got <= 0) break;
    had += (size_t)got;
  }
  int ok = content != NULL && had == len;
  while (ok && len - whole >= HEAD) {
    uint32_t body;
    uint64_t sum;
    memcpy(&body, content + whole, sizeof body);
    memcpy(&sum, content + whole + sizeof body, sizeof sum);
    const uint8_t *at = content + whole + HEAD;
    if (len - whole - HEAD < body || checksum(at, body) != sum) break;
    ok = replay(plugin, at, at + body);
    whole += HEAD + body;
  }
  free(content);
  /* What a crash left of a last batch was never promised to anybody. */
  if (!ok || ftruncate(file, (off_t)whole) != 0) {
    close(file);
    return failed(plugin, JF_EUNAVAIL, "the file can't be read");
  }
  plugin->file = file;
  return JF_OK;
}

static int write_all(int file, const uint8_t *bytes, size_t len) {
  while (len > 0) {
    ssize_t written = write(file, bytes, len);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return 0;
    bytes += written;
    len -= (size_t)written;
  }
  return 1;
}

/* Under the lock. */
static int32_t commit_locked(struct plugin *plugin, const jf_store_op *const *ops, size_t n, uint32_t want) {
  size_t len = HEAD;
  for (size_t i = 0; i < n; i++) {
    const jf_store_op *op = ops[i];
    if (op->kind == 2) { /* expect */
      size_t at = seek(plugin, op->key);
      int there = is_at(plugin, at, op->key), wanted = op->value.ptr != NULL;
      const record *found = there ? &plugin->records[at] : NULL;
      if (there != wanted || (there && (found->value_len != op->value.len ||
                                        memcmp(found->value, op->value.ptr, op->value.len) != 0)))
        return JF_ECONFLICT;
    } else {
      len += 1 + 2 * sizeof(uint32_t) + op->key.len + op->value.len;
    }
  }
  if (plugin->file < 0) return failed(plugin, JF_EREADONLY, "the file is broken");
  uint8_t *batch = malloc(len), *at = batch + HEAD;
  if (batch == NULL) return failed(plugin, JF_EUNAVAIL, "no memory");
  for (size_t i = 0; i < n; i++) {
    if (ops[i]->kind == 2) continue;
    *at++ = ops[i]->kind == 0;
    at += put_part(at, ops[i]->key);
    if (ops[i]->kind == 0) at += put_part(at, ops[i]->value);
  }
  uint32_t body = (uint32_t)(at - batch - HEAD);
  uint64_t sum = checksum(batch + HEAD, body);
  put(batch, &body, sizeof body);
  put(batch + sizeof body, &sum, sizeof sum);
  int ok = write_all(plugin->file, batch, HEAD + body) && (want < JF_D_FSYNC || fsync(plugin->file) == 0) &&
           replay(plugin, batch + HEAD, batch + HEAD + body);
  free(batch);
  if (ok) return JF_OK;
  /* Nobody knows what the file has, so nothing more is written to it. */
  close(plugin->file);
  plugin->file = -1;
  return failed(plugin, JF_EUNAVAIL, "the batch wasn't written");
}

static int32_t commit(void *self, jf_token token, const jf_store_op *const *ops, size_t n, uint32_t want) {
  struct plugin *plugin = self;
  (void)token;
  pthread_mutex_lock(&plugin->lock);
  int32_t status = commit_locked(plugin, ops, n, want);
  pthread_mutex_unlock(&plugin->lock);
  return status;
}

static int32_t get(void *self, jf_token token, jf_str key, void *sink) {
  struct plugin *plugin = self;
  (void)token;
  pthread_mutex_lock(&plugin->lock);
  size_t at = seek(plugin, key);
  int32_t status = JF_ENOENT;
  if (is_at(plugin, at, key)) {
    jf_str value = {plugin->records[at].value, plugin->records[at].value_len};
    status = plugin->host->out_data(sink, value);
  }
  pthread_mutex_unlock(&plugin->lock);
  return status;
}

static int32_t scan(void *self, jf_token token, jf_str prefix, jf_str after, uint32_t max, void *sink) {
  struct plugin *plugin = self;
  (void)token;
  pthread_mutex_lock(&plugin->lock);
  size_t at = seek(plugin, prefix);
  if (after.ptr != NULL) {
    size_t behind = seek(plugin, after);
    if (is_at(plugin, behind, after)) behind++;
    if (behind > at) at = behind;
  }
  int32_t status = JF_OK;
  for (; status == JF_OK && at < plugin->n && max > 0; at++, max--) {
    const record *found = &plugin->records[at];
    if (found->key_len < prefix.len || (prefix.len > 0 && memcmp(found->key, prefix.ptr, prefix.len) != 0)) break;
    jf_str key = {found->key, found->key_len}, value = {found->value, found->value_len};
    status = plugin->host->out_attr(sink, key, value);
  }
  pthread_mutex_unlock(&plugin->lock);
  return status;
}

static const jf_session_store STORE = {
  .size = sizeof STORE, .durability = JF_D_FSYNC, .max_batch = 64u << 20, .max_value = 16u << 20,
  .commit = commit, .get = get, .scan = scan,
};

static const void *extension(void *self, const char *name) {
  (void)self;
  return strcmp(name, "session-store/1") == 0 ? &STORE : NULL;
}

static void destroy(void *self) {
  struct plugin *plugin = self;
  if (plugin->file >= 0) close(plugin->file);
  for (size_t i = 0; i < plugin->n; i++) {
    free(plugin->records[i].key);
    free(plugin->records[i].value);
  }
  free(plugin->records);
  pthread_mutex_destroy(&plugin->lock);
  free(plugin);
}

static int32_t create(const jf_host *host, jf_str config, void *err_sink, const jf_plugin **out) {
  jf_str path = json_text(json_get(config, "file", 4));
  struct plugin *plugin = calloc(1, sizeof *plugin);
  if (plugin == NULL || path.ptr == NULL || path.len >= sizeof plugin->path) {
    free(plugin);
    host->out_text(err_sink, str("`file` is a path of less than 1024 bytes, without escapes"));
    host->out_attr(err_sink, str("key"), str("file"));
    return JF_EINVAL;
  }
  plugin->host = host;
  plugin->file = -1;
  memcpy(plugin->path, path.ptr, path.len); /* lent for this call: copied */
  pthread_mutex_init(&plugin->lock, NULL);
  plugin->interest.size = sizeof plugin->interest;
  plugin->interest.flags = JF_F_BLOCKING; /* its calls wait for the disk */
  plugin->table.size = sizeof plugin->table;
  plugin->table.self = plugin;
  plugin->table.interest = &plugin->interest;
  plugin->table.start = start;
  plugin->table.extension = extension;
  plugin->table.destroy = destroy;
  *out = &plugin->table;
  return JF_OK;
}

static const char *const EXTENSIONS[] = {"session-store/1", NULL};

const jf_entry jackfield_plugin_v1 = {
  .magic = JF_MAGIC, .size = sizeof jackfield_plugin_v1, .abi_major = JF_ABI_MAJOR, .abi_minor_needed = 0,
  .id = "{{name}}", .version = "0.1.0", .sdk = "c", .extensions = EXTENSIONS, .create = create,
  .config_schema =
    "{\"type\":\"object\",\"required\":[\"file\"],\"additionalProperties\":false,\"properties\":{\"file\":"
    "{\"type\":\"string\",\"description\":\"The file, which is made if it isn't there.\"}}}",
};

/* Reads options: values of a JSON object, by key. The broker has checked them against the schema and writes plain JSON, so
   this only finds its way in it. Texts with escapes are not decoded but refused. */
#ifndef JSON_H
#define JSON_H
#include "jackfield_plugin.h"
#include <stdlib.h>
#include <string.h>

/* The end of the string that begins at `at` (a quote), or of the object. */
static inline size_t json_string_end(jf_str json, size_t at) {
  for (at++; at < json.len && json.ptr[at] != '"'; at++)
    if (json.ptr[at] == '\\') at++;
  return at + 1;
}

/* The value of `key` in the object `json`, as it is written; absent if there is none. */
static inline jf_str json_get(jf_str json, const char *key, size_t key_len) {
  jf_str none = {NULL, 0};
  int depth = 0;
  for (size_t at = 0; at < json.len;) {
    uint8_t c = json.ptr[at];
    if (c != '"') {
      depth += (c == '{' || c == '[') - (c == '}' || c == ']');
      at++;
      continue;
    }
    size_t begin = at + 1, end = json_string_end(json, at);
    int found = depth == 1 && end < json.len && json.ptr[end] == ':' && end - 1 - begin == key_len &&
                memcmp(json.ptr + begin, key, key_len) == 0;
    at = end;
    if (!found) {
      /* A value that is a string must not be taken for a key. */
      if (depth == 1 && at + 1 < json.len && json.ptr[at] == ':' && json.ptr[at + 1] == '"')
        at = json_string_end(json, at + 1);
      continue;
    }
    begin = ++at;
    for (int nested = 0; at < json.len; at++) {
      c = json.ptr[at];
      if (c == '"') { at = json_string_end(json, at) - 1; continue; }
      nested += (c == '{' || c == '[') - (c == '}' || c == ']');
      if (nested < 0 || (nested == 0 && c == ',')) break;
    }
    jf_str value = {json.ptr + begin, at - begin};
    return value;
  }
  return none;
}

/* The text of a value without its quotes; absent if it is none or has escapes. */
static inline jf_str json_text(jf_str value) {
  jf_str none = {NULL, 0};
  if (value.len < 2 || value.ptr[0] != '"' || memchr(value.ptr, '\\', value.len) != NULL) return none;
  jf_str text = {value.ptr + 1, value.len - 2};
  return text;
}

/* The number that a text is, or `otherwise`. */
static inline double json_number(jf_str text, double otherwise) {
  char room[64], *end;
  if (text.len == 0 || text.len >= sizeof room) return otherwise;
  memcpy(room, text.ptr, text.len);
  room[text.len] = '\0';
  double number = strtod(room, &end);
  return *end == '\0' && end != room ? number : otherwise;
}
#endif

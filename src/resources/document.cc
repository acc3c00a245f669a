#include "resources/document.h"

#include <fmt/format.h>
#include <boost/json/serializer.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

#include "resources/document_path.h"
#include "resources/yaml_reader.h"

namespace ocicat {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxShownName = 300;

std::string printable(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, kMaxShownName)) {
    shown += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
  }
  return shown;
}

std::string_view text_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

}  // namespace

std::string describe(const json::object& object) {
  std::string_view ns;
  std::string_view name;
  const auto* metadata = object.if_contains("metadata");
  if (metadata != nullptr && metadata->is_object()) {
    ns = text_at(metadata->get_object(), "namespace");
    name = text_at(metadata->get_object(), "name");
  }
  std::string text = printable(text_at(object, "kind"));
  if (name.empty()) return text;
  if (!text.empty()) text += ' ';
  if (!ns.empty()) text += printable(ns) + '/';
  return text + printable(name);
}

std::string shortened(const json::value& value) {
  constexpr std::size_t kMaxShown = 80;
  char buffer[kMaxShown + 1];
  json::serializer serializer;
  serializer.reset(&value);
  std::string text;
  while (!serializer.done() && text.size() <= kMaxShown) {
    const auto part = serializer.read(buffer, sizeof buffer - text.size());
    text.append(part.data(), part.size());
  }
  if (text.size() <= kMaxShown) return text;
  std::size_t end = kMaxShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

std::string Complaint::to_string() const {
  std::string text;
  if (!file.empty()) text += line > 0 ? fmt::format("{}:{}: ", file, line) : fmt::format("{}: ", file);
  if (file.empty() && line > 0) text += fmt::format("line {}: ", line);
  for (const auto* part : {&object, &field_path, &value}) {
    if (!part->empty()) text += *part + ": ";
  }
  return text + rule;
}

namespace {

// A part of the text that stands alone: from one `---` to the next, so that a fault in one document does not
// cost the others.
struct Chunk {
  std::string_view text;
  int first_line = 1;
};

bool is_marker(std::string_view line) {
  return line.starts_with("---") &&
         (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

std::vector<Chunk> split(std::string_view text) {
  std::vector<Chunk> chunks;
  std::size_t begin = 0;
  int begin_line = 1;
  int line = 1;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (is_marker(text.substr(at, end - at)) && at > begin) {
      chunks.push_back({text.substr(begin, at - begin), begin_line});
      begin = at;
      begin_line = line;
    }
    at = end + 1;
  }
  if (begin < text.size()) chunks.push_back({text.substr(begin), begin_line});
  return chunks;
}

// Nothing but blank lines, comments and directives (`%YAML 1.2` before a `---`).
bool says_nothing(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const auto line = text.substr(at, end - at);
    const auto first = line.find_first_not_of(" \t\r");
    if (first != std::string_view::npos && line[first] != '#' && !line.starts_with('%')) return false;
    at = end + 1;
  }
  return true;
}

std::vector<ReadValue> read_chunk(Chunk chunk) {
  std::string_view body = chunk.text;
  int line = chunk.first_line;
  if (const auto end = std::min(body.find('\n'), body.size());
      is_marker(body.substr(0, end)) &&
      body.substr(3, end - 3).find_first_not_of(" \t\r") == std::string_view::npos) {
    body.remove_prefix(std::min(end + 1, body.size()));
    ++line;
  }
  const auto first = body.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (body[first] == '{' || body[first] == '[')) {
    if (auto values = read_json(body, line)) return *std::move(values);
  }
  return read_yaml(chunk.text, chunk.first_line);
}

class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  void add(ReadValue read) {
    const auto* object = read.value.if_object();
    for (auto& fault : read.faults) {
      complain(fault.line, object == nullptr ? "" : describe(*object), std::move(fault.field_path), "",
               std::move(fault.rule));
    }
    if (!read.faults.empty() || read.value.is_null()) return;
    if (object == nullptr) {
      return complain(read.line, "", "", shortened(read.value),
                      "a document must be a mapping with apiVersion, kind and metadata");
    }
    add_object(std::move(read.value.get_object()), read.line, std::move(read.line_of));
  }

  ReadDocuments take() { return std::move(result_); }

  void complain(int line, std::string object, std::string path, std::string value, std::string rule) {
    result_.complaints.push_back(
        {file_, line, std::move(object), std::move(path), std::move(value), std::move(rule)});
  }

 private:
  void add_object(json::object object, int line, std::map<std::string, int> line_of) {
    const std::string_view kind = text_at(object, "kind");
    const auto* items = object.if_contains("items");
    if (kind.ends_with("List") && items != nullptr && items->is_array()) return take_apart(object, line_of);
    if (is_list(kind, text_at(object, "apiVersion"))) {
      const bool missing = items == nullptr || items->is_null();
      const auto own = line_of.find("items");
      return complain(own == line_of.end() ? line : own->second, describe(object), "items",
                      missing ? "" : shortened(*items), missing ? "required, and missing" : "must be a list");
    }
    result_.documents.push_back({std::move(object), file_, line, std::move(line_of)});
  }

  static bool is_list(std::string_view kind, std::string_view api_version) {
    if (!kind.ends_with("List")) return false;
    kind.remove_suffix(4);
    return kind.empty() || find_kind(api_version, kind).has_value();
  }

  // `kind: List` holds objects of any kind; `kind: TierList` holds tiers, which need not say so.
  void take_apart(json::object& list, const std::map<std::string, int>& line_of) {
    const std::string item_kind(text_at(list, "kind").substr(0, text_at(list, "kind").size() - 4));
    const std::string api_version(text_at(list, "apiVersion"));
    auto& items = list["items"].get_array();
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::string prefix = fmt::format("items[{}]", i);
      const auto own = line_of.find(prefix);
      const int line = own == line_of.end() ? 0 : own->second;
      auto* object = items[i].if_object();
      if (object == nullptr) {
        complain(line, item_kind + "List", prefix, shortened(items[i]), "must be an object");
        continue;
      }
      if (!item_kind.empty()) {
        object->emplace("kind", item_kind);
        object->emplace("apiVersion", api_version);
      }
      add_object(std::move(*object), line, below(line_of, prefix));
    }
  }

  // The lines of what lies under `prefix`, with paths that begin there.
  static std::map<std::string, int> below(const std::map<std::string, int>& line_of,
                                          const std::string& prefix) {
    std::map<std::string, int> lines;
    for (auto at = line_of.lower_bound(prefix); at != line_of.end() && at->first.starts_with(prefix); ++at) {
      std::string_view rest = std::string_view(at->first).substr(prefix.size());
      if (rest.starts_with('.')) rest.remove_prefix(1);
      lines.emplace(rest, at->second);
    }
    return lines;
  }

  std::string file_;
  ReadDocuments result_;
};

}  // namespace

ReadDocuments read_documents(std::string_view text, std::string file_name) {
  Reader reader(std::move(file_name));
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.size() > kMostText) {
    reader.complain(0, "", "", "",
                    fmt::format("larger than {} MiB; split it into several files", kMostText >> 20));
    return reader.take();
  }
  for (const Chunk& chunk : split(text)) {
    if (says_nothing(chunk.text)) continue;
    for (auto& value : read_chunk(chunk)) reader.add(std::move(value));
  }
  return reader.take();
}

}  // namespace ocicat

#include "resources/yaml_reader.h"

#include <fmt/format.h>
#include <yaml.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/result.h"
#include "resources/document_path.h"
#include "resources/yaml_anchors.h"
#include "resources/yaml_scalar.h"

namespace ocicat {

namespace json = boost::json;

namespace {

struct Event {
  yaml_event_t raw{};
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { yaml_event_delete(&raw); }
};

std::string_view text_of(const yaml_char_t* text, std::size_t size) {
  return {reinterpret_cast<const char*>(text), size};
}

std::string text_of(const yaml_char_t* text) {
  return text == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(text));
}

class YamlReader {
 public:
  YamlReader(std::string_view text, int first_line) : text_(text), first_line_(first_line) {
    CHECK(yaml_parser_initialize(&parser_) == 1);
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~YamlReader() { yaml_parser_delete(&parser_); }
  YamlReader(const YamlReader&) = delete;
  YamlReader& operator=(const YamlReader&) = delete;

  std::vector<ReadValue> read() {
    while (document()) {
    }
    return std::move(values_);
  }

 private:
  // A fault that ends the reading, as opposed to those that are noted.
  static constexpr bool kStop = false;

  // One document; false at the end of the text or after a syntax error.
  bool document() {
    Event event;
    do {
      if (yaml_parser_parse(&parser_, &event.raw) == 0) {
        current_ = &values_.emplace_back();
        return syntax_fault();
      }
      if (event.raw.type == YAML_STREAM_END_EVENT) return false;
      if (event.raw.type == YAML_DOCUMENT_START_EVENT) break;
      yaml_event_delete(&event.raw);
    } while (true);

    current_ = &values_.emplace_back();
    current_->line = line_of(event.raw.start_mark);
    anchors_ = {};
    path_.clear();
    Event root;
    if (!next(root)) return false;
    current_->line = line_of(root.raw.start_mark);
    if (!node(root.raw, 0, current_->value)) return false;
    Event end;
    return next(end);
  }

  bool next(Event& event) { return yaml_parser_parse(&parser_, &event.raw) != 0 || syntax_fault(); }

  // The value that begins with `event`, at path_.
  bool node(const yaml_event_t& event, int depth, json::value& out) {
    const int line = line_of(event.start_mark);
    current_->line_of.emplace(path_, line);
    if (event.type == YAML_ALIAS_EVENT) return alias(event, depth, out);
    if (depth > kMaxDepth) return fault(line, fmt::format("nested deeper than {} levels", kMaxDepth)), kStop;

    std::string anchor;
    bool ok = true;
    switch (event.type) {
      case YAML_SCALAR_EVENT:
        anchor = text_of(event.data.scalar.anchor);
        scalar(event, out);
        break;
      case YAML_SEQUENCE_START_EVENT:
        anchor = text_of(event.data.sequence_start.anchor);
        refuse_tag(text_of(event.data.sequence_start.tag), "tag:yaml.org,2002:seq", line);
        ok = sequence(depth, out);
        break;
      case YAML_MAPPING_START_EVENT:
        anchor = text_of(event.data.mapping_start.anchor);
        refuse_tag(text_of(event.data.mapping_start.tag), "tag:yaml.org,2002:map", line);
        ok = mapping(depth, out);
        break;
      default:
        break;
    }
    return ok && (anchor.empty() || keep(anchor, out, line));
  }

  bool sequence(int depth, json::value& out) {
    auto& list = out.emplace_array();
    const std::size_t base = path_.size();
    for (;;) {
      Event event;
      if (!next(event)) return kStop;
      if (event.raw.type == YAML_SEQUENCE_END_EVENT) return true;
      append_index(path_, list.size());
      list.emplace_back(nullptr);
      if (!node(event.raw, depth + 1, list.back())) return kStop;
      path_.resize(base);
    }
  }

  bool mapping(int depth, json::value& out) {
    auto& object = out.emplace_object();
    std::vector<json::value> merges;
    const std::size_t base = path_.size();
    for (;;) {
      Event key_event;
      if (!next(key_event)) return kStop;
      if (key_event.raw.type == YAML_MAPPING_END_EVENT) break;
      const int line = line_of(key_event.raw.start_mark);
      std::string key;
      bool is_merge = false;
      if (!mapping_key(key_event.raw, depth, key, is_merge)) return kStop;

      Event value_event;
      if (!next(value_event)) return kStop;
      append_key(path_, key);
      const bool duplicate = !is_merge && object.contains(key);
      if (duplicate) note_duplicate(line, key);
      json::value value;
      if (!node(value_event.raw, depth + 1, value)) return kStop;
      path_.resize(base);
      if (is_merge) {
        add_merge(std::move(value), merges, line);
      } else if (!duplicate) {
        object.emplace(key, std::move(value));
      }
    }
    // What is written out wins over what is merged in, and the first merge over later ones.
    for (auto& merge : merges) {
      for (auto& [key, value] : merge.as_object()) object.emplace(key, std::move(value));
    }
    return true;
  }

  void add_merge(json::value value, std::vector<json::value>& merges, int line) {
    if (value.is_object()) {
      merges.push_back(std::move(value));
    } else if (auto* list = value.if_array();
               list != nullptr &&
               std::ranges::all_of(*list, [](const auto& item) { return item.is_object(); })) {
      for (auto& item : *list) merges.push_back(std::move(item));
    } else {
      fault(line, "`<<` must be followed by a mapping or a list of mappings");
    }
  }

  // Keys are text, whatever they look like: `80: x` has the key "80". An alias may stand for a key.
  bool mapping_key(const yaml_event_t& event, int depth, std::string& key, bool& is_merge) {
    json::value value;
    const int line = line_of(event.start_mark);
    if (event.type == YAML_SCALAR_EVENT) {
      is_merge = event.data.scalar.plain_implicit != 0 &&
                 text_of(event.data.scalar.value, event.data.scalar.length) == "<<";
      scalar(event, value);
      if (event.data.scalar.anchor != nullptr && !keep(text_of(event.data.scalar.anchor), value, line))
        return kStop;
    } else if (event.type == YAML_ALIAS_EVENT) {
      if (!alias(event, depth, value)) return kStop;
    } else {
      return fault(line, "a key must be a word, not a list or a mapping"), kStop;
    }
    if (value.is_null()) {
      fault(line, "a key must not be null; put it in quotes if it is meant as text");
    } else if (const auto* text = value.if_string()) {
      key.assign(text->data(), text->size());
    } else if (value.is_bool()) {
      key = value.get_bool() ? "true" : "false";
    } else {
      key = text_of(event.data.scalar.value, event.data.scalar.length);
      if (value.is_int64()) key = fmt::to_string(value.get_int64());
      if (value.is_uint64()) key = fmt::to_string(value.get_uint64());
    }
    return true;
  }

  void scalar(const yaml_event_t& event, json::value& out) {
    const auto& scalar = event.data.scalar;
    const std::string_view text = text_of(scalar.value, scalar.length);
    const std::string tag = text_of(scalar.tag);
    constexpr std::string_view kCore = "tag:yaml.org,2002:";
    const bool is_text =
        scalar.plain_implicit == 0 && (tag.empty() || tag == "!" || tag == "tag:yaml.org,2002:str");
    if (is_text) {
      out.emplace_string().assign(text.data(), text.size());
      return;
    }
    out = resolve_plain_scalar(text);
    if (!tag.empty())
      check_scalar_tag(std::string_view(tag).starts_with(kCore) ? tag.substr(kCore.size()) : tag, event, out);
    if (out.is_double() && !std::isfinite(out.get_double())) {
      fault(line_of(event.start_mark), fmt::format("{} is not a number that JSON can hold", text));
    }
  }

  // An explicit `!!int "5"`: the text must be of that type.
  void check_scalar_tag(const std::string& tag, const yaml_event_t& event, json::value& out) {
    if (tag == "float" && out.is_int64()) out = static_cast<double>(out.get_int64());
    const bool fits = (tag == "int" && (out.is_int64() || out.is_uint64())) ||
                      (tag == "float" && out.is_double()) || (tag == "bool" && out.is_bool()) ||
                      (tag == "null" && out.is_null());
    if (!fits) fault(line_of(event.start_mark), fmt::format("the tag !{} is not supported here", tag));
  }

  void refuse_tag(const std::string& tag, std::string_view allowed, int line) {
    if (!tag.empty() && tag != "!" && tag != allowed) {
      fault(line, fmt::format("the tag {} is not supported", tag));
    }
  }

  bool keep(std::string anchor, const json::value& value, int line) {
    const auto kept = anchors_.keep(std::move(anchor), value);
    if (!kept) fault(line, kept.error().message);
    return kept.has_value();
  }

  bool alias(const yaml_event_t& event, int depth, json::value& out) {
    auto value = anchors_.repeat(text_of(event.data.alias.anchor), depth);
    if (value) {
      out = *std::move(value);
      return true;
    }
    fault(line_of(event.start_mark), value.error().message);
    return value.error().code == ErrorCode::kNotFound;
  }

  void note_duplicate(int line, std::string_view key) {
    const auto first = current_->line_of.find(path_);
    const int first_line = first == current_->line_of.end() ? 0 : first->second;
    fault(line, fmt::format("the key {} appears twice; it is already on line {}", key, first_line));
  }

  int line_of(const yaml_mark_t& mark) const { return first_line_ + static_cast<int>(mark.line); }

  void fault(int line, std::string rule) { current_->faults.push_back({line, path_, std::move(rule)}); }

  // What libyaml says of the text, and where. Always false.
  bool syntax_fault() {
    if (parser_.error == YAML_READER_ERROR) {
      const auto before = text_.substr(0, std::min(parser_.problem_offset, text_.size()));
      const int line = first_line_ + static_cast<int>(std::ranges::count(before, '\n'));
      path_.clear();
      return fault(line, fmt::format("not valid text: {}", parser_.problem)), kStop;
    }
    const int line = line_of(parser_.problem_mark);
    std::string rule =
        fmt::format("not valid YAML: {}", parser_.problem != nullptr ? parser_.problem : "out of memory");
    if (parser_.context != nullptr) {
      rule += fmt::format(" {}", parser_.context);
      if (parser_.context_mark.line != parser_.problem_mark.line) {
        rule += fmt::format(" that begins on line {}", line_of(parser_.context_mark));
      }
    }
    if (has_tab_indent(parser_.problem_mark.line)) rule += "; indent with blanks, not with tabs";
    fault(line, std::move(rule));
    return kStop;
  }

  bool has_tab_indent(std::size_t line) const {
    std::size_t at = 0;
    for (; line > 0 && at < text_.size(); --line) {
      const auto end = text_.find('\n', at);
      if (end == std::string_view::npos) return false;
      at = end + 1;
    }
    const auto first = text_.find_first_not_of(' ', at);
    return first != std::string_view::npos && text_[first] == '\t';
  }

  yaml_parser_t parser_{};
  std::string_view text_;
  int first_line_;
  std::vector<ReadValue> values_;
  ReadValue* current_ = nullptr;
  std::string path_;
  YamlAnchors anchors_;
};

}  // namespace

std::vector<ReadValue> read_yaml(std::string_view text, int first_line) {
  return YamlReader(text, first_line).read();
}

}  // namespace ocicat

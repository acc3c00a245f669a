// JSON with line numbers. The grammar's skeleton is walked here; each string and number is handed to
// Boost.JSON, so escapes and surrogate pairs are its business.
#include <boost/json/parse.hpp>

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "resources/document_path.h"
#include "resources/yaml_reader.h"

namespace ocicat {

namespace json = boost::json;

namespace {

class JsonReader {
 public:
  JsonReader(std::string_view text, int first_line) : text_(text), line_(first_line) {}

  std::optional<std::vector<ReadValue>> read() {
    std::vector<ReadValue> values;
    for (skip_blanks(); at_ < text_.size(); skip_blanks()) {
      current_ = &values.emplace_back();
      current_->line = line_;
      if (!value(0, current_->value)) return std::nullopt;
    }
    if (values.empty()) return std::nullopt;
    return values;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_blanks() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != ' ' && text_[at_] != '\n' && text_[at_] != '\r' && text_[at_] != '\t') return;
    }
  }

  bool take(char expected) {
    if (peek() != expected) return false;
    ++at_;
    return true;
  }

  bool value(int depth, json::value& out) {
    if (depth > kMaxDepth) return false;
    current_->line_of.emplace(path_, line_);
    switch (peek()) {
      case '{':
        return object(depth, out);
      case '[':
        return list(depth, out);
      case '"':
        return string(out);
      default:
        return word(out);
    }
  }

  bool object(int depth, json::value& out) {
    auto& object = out.emplace_object();
    const std::size_t base = path_.size();
    ++at_;
    skip_blanks();
    if (take('}')) return true;
    for (;;) {
      const int line = line_;
      json::value key;
      if (peek() != '"' || !string(key)) return false;
      skip_blanks();
      if (!take(':')) return false;
      skip_blanks();
      append_key(path_, std::string_view(key.get_string()));
      const bool duplicate = object.contains(key.get_string());
      if (duplicate) note_duplicate(line, std::string_view(key.get_string()));
      json::value item;
      if (!value(depth + 1, item)) return false;
      if (!duplicate) object.emplace(key.get_string(), std::move(item));
      path_.resize(base);
      skip_blanks();
      if (take('}')) return true;
      if (!take(',')) return false;
      skip_blanks();
    }
  }

  bool list(int depth, json::value& out) {
    auto& list = out.emplace_array();
    const std::size_t base = path_.size();
    ++at_;
    skip_blanks();
    if (take(']')) return true;
    for (;;) {
      append_index(path_, list.size());
      list.emplace_back(nullptr);
      if (!value(depth + 1, list.back())) return false;
      path_.resize(base);
      skip_blanks();
      if (take(']')) return true;
      if (!take(',')) return false;
      skip_blanks();
    }
  }

  bool string(json::value& out) {
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != '"' && text_[end] != '\n') end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size() || text_[end] != '"') return false;
    return scalar(end + 1, out) && out.is_string();
  }

  bool word(json::value& out) {
    const std::size_t end = text_.find_first_of(" \t\r\n,:]}", at_);
    const int line = line_;
    if (!scalar(end == std::string_view::npos ? text_.size() : end, out)) return false;
    if (out.is_double() && !std::isfinite(out.get_double())) {
      current_->faults.push_back({line, path_, "a number beyond what a double can hold"});
    }
    return true;
  }

  bool scalar(std::size_t end, json::value& out) {
    json::error_code error;
    out = json::parse({text_.data() + at_, end - at_}, error);
    at_ = end;
    return !error;
  }

  void note_duplicate(int line, std::string_view key) {
    const auto first = current_->line_of.find(path_);
    current_->faults.push_back({line, path_,
                                fmt::format("the key {} appears twice; it is already on line {}", key,
                                            first == current_->line_of.end() ? 0 : first->second)});
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_;
  ReadValue* current_ = nullptr;
  std::string path_;
};

}  // namespace

std::optional<std::vector<ReadValue>> read_json(std::string_view text, int first_line) {
  return JsonReader(text, first_line).read();
}

}  // namespace ocicat

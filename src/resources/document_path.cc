#include "resources/document_path.h"

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <iterator>

namespace ocicat {

namespace {

bool is_word(std::string_view key) {
  return !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

}  // namespace

void append_key(std::string& path, std::string_view key) {
  if (!is_word(key)) {
    path += '[';
    path += boost::json::serialize(boost::json::string_view(key.data(), key.size()));
    path += ']';
    return;
  }
  if (!path.empty()) path += '.';
  path += key;
}

void append_index(std::string& path, std::size_t index) {
  fmt::format_to(std::back_inserter(path), "[{}]", index);
}

void Place::append_to(std::string& path) const {
  if (parent_ == nullptr) return;
  parent_->append_to(path);
  if (is_item_) {
    append_index(path, index_);
  } else {
    append_key(path, key_);
  }
}

std::string Place::to_string() const {
  std::string path;
  append_to(path);
  return path;
}

}  // namespace ocicat

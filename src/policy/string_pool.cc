#include "policy/string_pool.h"

#include <cstring>

namespace ocicat::policy {

void append_text(std::string_view text, std::vector<std::uint32_t>& words) {
  const auto at = words.size();
  words.resize(at + 1 + (text.size() + 3) / 4);
  words[at] = static_cast<std::uint32_t>(text.size());
  std::memcpy(words.data() + at + 1, text.data(), text.size());
}

std::string_view read_text(std::span<const std::uint32_t> words, std::size_t& at) {
  if (at >= words.size()) return {};
  const std::size_t length = words[at];
  const std::string_view text{reinterpret_cast<const char*>(words.data() + at + 1), length};
  at += 1 + (length + 3) / 4;
  return text;
}

std::span<const std::uint32_t> StringPool::pack(std::string_view text) const {
  packed_.clear();
  append_text(text, packed_);
  return packed_;
}

}  // namespace ocicat::policy

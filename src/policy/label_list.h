// Labels as a list of words: the name of each as a number, its value as text.
//
// Names are few and come again and again; values that nobody asks for are not worth an index.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "policy/string_pool.h"

namespace ocicat::policy {

struct ListedLabel {
  StringPool::Id name;
  std::string_view value;
};

inline void append_label(StringPool::Id name, std::string_view value, std::vector<std::uint32_t>& words) {
  words.push_back(name);
  append_text(value, words);
}

// In the order in which they were appended.
template <class Visit>
void for_each_label(std::span<const std::uint32_t> words, Visit visit) {
  for (std::size_t at = 0; at < words.size();) {
    const auto name = words[at++];
    visit(ListedLabel{name, read_text(words, at)});
  }
}

}  // namespace ocicat::policy

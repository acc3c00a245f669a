#include "policy/key_pool.h"

#include <string>

namespace ocicat::policy {

// A word of kind and length of the namespace, then both texts; the last word is filled up with zeros, which
// names do not end with.
const std::vector<std::uint32_t>& KeyPool::pack(const ResourceKey& key) const {
  const auto bytes = key.ns.size() + key.name.size();
  auto& words = packed_;
  words.assign(1 + (bytes + 3) / 4, 0);
  words[0] = static_cast<std::uint32_t>(key.kind) << 24 | static_cast<std::uint32_t>(key.ns.size());
  auto* text = reinterpret_cast<char*>(words.data() + 1);
  key.ns.copy(text, key.ns.size());
  key.name.copy(text + key.ns.size(), key.name.size());
  return words;
}

ResourceKey KeyPool::operator[](Id id) const {
  const auto words = pool_[id];
  std::string text(reinterpret_cast<const char*>(words.data() + 1), (words.size() - 1) * 4);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  const auto ns_length = words[0] & 0xffffff;
  return {static_cast<Kind>(words[0] >> 24), text.substr(0, ns_length), text.substr(ns_length)};
}

}  // namespace ocicat::policy

#include "resources/bgp.h"

#include <algorithm>
#include <charconv>

namespace ocicat {

std::optional<Community> Community::parse(std::string_view text) {
  Community community;
  std::size_t count = 0;
  while (true) {
    const auto colon = text.find(':');
    const auto part = text.substr(0, colon);
    if (count == community.parts.size()) return std::nullopt;
    auto& value = community.parts[count++];
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (part.empty() || error != std::errc{} || end != part.data() + part.size()) return std::nullopt;
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
  }
  community.large = count == 3;
  if (count < 2 || (count == 2 && std::ranges::max(community.parts) > 0xffff)) return std::nullopt;
  return community;
}

}  // namespace ocicat

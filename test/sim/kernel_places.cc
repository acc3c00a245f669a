#include "sim/kernel_places.h"

#include <algorithm>

#include "dataplane/nftables/entries.h"

namespace ocicat::test {
namespace {

using dataplane::Map;
using policy::Direction;

constexpr std::size_t kNameBytes = 16;

dataplane::Entries entries_in(const Elements& elements, Map map) {
  const auto found = elements.find(dataplane::set_of(map).name);
  if (found == elements.end()) return {};
  const auto entries = dataplane::entries_of(map, {found->second.begin(), found->second.end()});
  CHECK(entries);
  return *entries;
}

IpAddress address_in(std::span<const std::uint8_t> bytes) {
  IpAddress::Bytes all{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  std::ranges::copy(bytes, all.end() - static_cast<std::ptrdiff_t>(bytes.size()));
  return IpAddress::v6(all);
}

Place place_of(std::span<const std::uint8_t> key) {
  std::string name(reinterpret_cast<const char*>(key.data()), kNameBytes);
  name.resize(std::min(name.find('\0'), name.size()));
  return {std::move(name), address_in(key.subspan(kNameBytes))};
}

}  // namespace

std::set<Place> places_of(const Elements& elements, Direction direction) {
  std::set<Place> places;
  for (const auto family : kFamilies) {
    for (const auto& entry : entries_in(elements, dataplane::programs_map(direction, family))) {
      places.insert(place_of(entry.key.view()));
    }
    if (direction == Direction::kIngress) continue;
    for (const auto& entry : entries_in(elements, dataplane::sources_map(family))) {
      places.insert(place_of(entry.key.view()));
    }
  }
  return places;
}

bool is_guarded(const Elements& elements, std::string_view interface_name) {
  if (interface_name.starts_with("cali")) return true;
  const auto wanted = dataplane::interface_entry(interface_name);
  return std::ranges::any_of(entries_in(elements, Map::kInterfaces),
                             [&](const auto& entry) { return entry.key == wanted.key; });
}

}  // namespace ocicat::test

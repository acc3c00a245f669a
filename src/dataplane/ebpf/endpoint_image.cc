#include "dataplane/ebpf/endpoint_image.h"

#include <algorithm>
#include <limits>

#include "dataplane/ebpf/address_image.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;

static_assert(std::size_t{bpf::ENDPOINTS_MAX} <= 4096, "workload_at_host() has twelve bits");
static_assert(std::size_t{bpf::ENDPOINTS_MAX} <= std::size_t{bpf::OWNER_AT_HOST});

bpf::place place_of(std::uint32_t interface, const IpAddress& address) {
  return {interface, address_of(address), 0};
}

bpf::source source_of(std::uint32_t interface, const Prefix& prefix) {
  constexpr std::uint32_t kInterfaceBits = 32, kMappedBits = 96;
  const bool v4 = prefix.family() == Family::kIpv4;
  const auto bits = prefix.length + (v4 ? kMappedBits : 0);
  return {kInterfaceBits + bits, interface | (v4 ? SOURCE_OF_IPV4 : 0), address_of(prefix.masked().address)};
}

Prefix prefix_of(const bpf::source& source) {
  const auto address = address_of(source.address);
  const auto bits = source.bits - 32;
  return {address, static_cast<std::uint8_t>(address.is_v4() && bits >= 96 ? bits - 96 : bits)};
}

// In whose place is written what judges what is sent from elsewhere.
IpAddress any_address(Family family) {
  return family == Family::kIpv4 ? *IpAddress::parse("0.0.0.0") : *IpAddress::parse("::");
}

}  // namespace

EndpointImage::EndpointImage(std::span<bpf::endpoint> endpoints, kernel::bpf::ElementMap& addresses,
                             kernel::bpf::ElementMap& sources, const bpf::holders& holders)
    : memory_(endpoints), addresses_(addresses), source_rights_(sources), holders_(holders) {}

void EndpointImage::want_at(const Links& links, const std::set<int>& open) {
  open_ = {open.begin(), open.end()};
  interfaces_.clear();
  for (const auto& [name, link] : links)
    interfaces_.emplace_hint(interfaces_.end(), name, static_cast<std::uint32_t>(link.index));
}

bool EndpointImage::is_interface(const std::string& name) const {
  return std::ranges::any_of(endpoints_,
                             [&](const auto& entry) { return entry.second.interface_name == name; });
}

std::map<IpAddress, std::uint32_t> EndpointImage::slots() const {
  std::map<IpAddress, std::uint32_t> slots;
  for (const auto& [place, slot] : slots_) {
    if (place.second != any_address(place.second.family())) slots.emplace(place.second, slot);
  }
  return slots;
}

std::map<EndpointImage::Place, EndpointImage::Served> EndpointImage::wanted() const {
  std::map<Place, Served> places;
  std::set<std::uint32_t> senders;  // interfaces of those that may send from elsewhere
  for (const auto& [key, endpoint] : endpoints_) {
    const auto interface = interfaces_.find(endpoint.interface_name);
    if (interface == interfaces_.end()) continue;
    for (const auto& own : endpoint.addresses) {
      places.emplace(Place{interface->second, own.address}, Served{{static_cast<std::uint32_t>(own.ingress),
                                                                    static_cast<std::uint32_t>(own.egress)}});
    }
    if (endpoint.sources.empty() || !senders.insert(interface->second).second) continue;
    for (const auto& source : endpoint.sources) {
      const auto family = source.family();
      auto& served = places[{interface->second, any_address(family)}];
      served.chain = static_cast<std::uint32_t>(endpoint.source_chain(family));
      served.sources.push_back(source);
    }
  }
  return places;
}

std::uint32_t EndpointImage::free_slot() const {
  constexpr std::int32_t kHardlyAny = bpf::HOLDS_MANY / 16;
  const auto left_in = [&](std::uint32_t owner) {
    return __atomic_load_n(&holders_.owner[owner], __ATOMIC_RELAXED);
  };
  auto best = *free_.begin();
  auto least = std::numeric_limits<std::int32_t>::max();
  for (const auto slot : free_) {
    const auto left = std::max(left_in(slot), left_in(bpf::OWNER_AT_HOST | slot));
    if (left >= least) continue;
    best = slot;
    least = left;
    if (left <= kHardlyAny) break;
  }
  return best;
}

Result<void> EndpointImage::take_place(const Place& place, Step& step) {
  if (free_.empty())
    return fail(ErrorCode::kExhausted, "no room for more than {} addresses of workloads", memory_.size() - 1);
  const auto slot = free_slot();
  auto& endpoint = memory_[slot];
  step.write(endpoint.address, address_of(place.second));
  step.write(endpoint.interface, place.first);
  const auto key = place_of(place.first, place.second);
  TRY_VOID(addresses_.put(bytes_of(key), bytes_of(slot)));
  step.count_write();
  free_.erase(slot);
  slots_.emplace(place, slot);
  return {};
}

void EndpointImage::leave_place(const Place& place, std::uint32_t slot, Step& step) {
  step.write(memory_[slot].changed, step.coming());
  step.set(memory_[slot].programs, bpf::endpoint_programs{});
  step.set(memory_[slot].chain, 0U);
  step.afterwards([this, place, slot]() -> Result<void> {
    const auto key = place_of(place.first, place.second);
    TRY_VOID(addresses_.remove(bytes_of(key)));
    bpf::endpoint left{};
    left.changed =
        memory_[slot].changed;  // no connection that it has judged may count on who comes here next
    memory_[slot] = left;
    slots_.erase(place);
    free_.insert(slot);
    return {};
  });
}

// What closes is closed at once; what opens does so when the step shows, as the old policy may want the
// stack.
void EndpointImage::write_flags(const Place& place, std::uint32_t slot, Step& step) {
  const bool is_open = open_.contains(place.first) && place.second != any_address(place.second.family());
  const std::uint32_t flags = is_open ? bpf::ENDPOINT_OPEN : 0;
  auto& there = memory_[slot].flags;
  if (there == flags) return;
  if (!is_open) return step.write(there, flags);
  step.count_write();
  step.afterwards([&there, flags]() -> Result<void> {
    __atomic_store_n(&there, flags, __ATOMIC_RELEASE);
    return {};
  });
}

Result<bool> EndpointImage::write_sources(const Place& place, const std::vector<Prefix>& wanted, Step& step) {
  const std::set<Prefix> after(wanted.begin(), wanted.end());
  auto& there = sources_[place];
  const auto put = [&](const Prefix& source, bool before, bool then) -> Result<void> {
    const auto key = source_of(place.first, source);
    bpf::source_right right{};
    right.allowed[step.now()] = before ? 1 : 0;
    right.allowed[step.next()] = then ? 1 : 0;
    TRY_VOID(source_rights_.put(bytes_of(key), bytes_of(right)));
    step.count_write();
    step.afterwards([this, key, then]() -> Result<void> {
      if (!then) return source_rights_.remove(bytes_of(key));
      const bpf::source_right settled{{1, 1}};
      return source_rights_.put(bytes_of(key), bytes_of(settled));
    });
    return {};
  };
  if (there == after) return false;
  for (const auto& source : there) {
    if (!after.contains(source)) TRY_VOID(put(source, true, false));
  }
  for (const auto& source : after) {
    if (!there.contains(source)) TRY_VOID(put(source, false, true));
  }
  there = after;
  if (there.empty()) sources_.erase(place);
  return true;
}

Result<void> EndpointImage::update(const Concerned& concerned, Step& step) {
  const auto places = wanted();
  for (const auto& [place, unused] : std::map(sources_)) {
    if (!places.contains(place)) TRY_VOID(write_sources(place, {}, step));
  }
  for (const auto& [place, slot] : std::map(slots_)) {
    if (!places.contains(place)) leave_place(place, slot, step);
  }
  for (const auto& [place, served] : places) {
    bool is_another = concerned.anew || !slots_.contains(place);
    if (!slots_.contains(place)) TRY_VOID(take_place(place, step));
    auto& endpoint = memory_[slots_.at(place)];
    write_flags(place, slots_.at(place), step);
    bool changes = step.set(endpoint.programs, served.programs);
    changes |= step.set(endpoint.chain, served.chain);
    if (!served.sources.empty()) {
      TRY(const bool others, write_sources(place, served.sources, step));
      is_another |= others;
    }
    changes |= concerned.has(policy::ProgramId{served.programs.ingress}) ||
               concerned.has(policy::ProgramId{served.programs.egress}) ||
               concerned.has(policy::ChainId{served.chain});
    if (is_another || (changes && !concerned.stay)) {
      step.write(endpoint.changed, step.coming());
      step.show();
    }
  }
  return {};
}

Result<bool> EndpointImage::read_sources(Step& step) {
  sources_.clear();
  std::vector<bpf::source> strays;
  TRY_VOID(source_rights_.for_each([&](auto key, auto value) {
    bpf::source source{};
    bpf::source_right right{};
    std::memcpy(&source, key.data(), sizeof source);
    std::memcpy(&right, value.data(), sizeof right);
    const auto prefix = prefix_of(source);
    const auto interface = source.interface & ~SOURCE_OF_IPV4;
    const auto wanted = source_of(interface, prefix);
    const bool is_odd =
        right.allowed[0] != 1 || right.allowed[1] != 1 || wanted.interface != source.interface;
    if (is_odd) return strays.push_back(source);
    sources_[{interface, any_address(prefix.family())}].insert(prefix);
  }));
  for (const auto& stray : strays) {
    TRY_VOID(source_rights_.remove(bytes_of(stray)));
    step.count_write();
  }
  return !strays.empty();
}

Result<void> EndpointImage::resync(const Concerned& concerned, Step& step) {
  slots_.clear();
  free_.clear();
  for (std::uint32_t slot = 1; slot < memory_.size(); ++slot) free_.insert(slot);
  std::vector<bpf::place> strays;
  TRY_VOID(addresses_.for_each([&](auto key, auto value) {
    bpf::place place{};
    std::uint32_t slot = 0;
    std::memcpy(&place, key.data(), sizeof place);
    std::memcpy(&slot, value.data(), sizeof slot);
    const bool fits = free_.contains(slot) && memory_[slot].interface == place.interface &&
                      address_of(memory_[slot].address) == address_of(place.address);
    if (!fits) return strays.push_back(place);
    free_.erase(slot);
    slots_.emplace(Place{place.interface, address_of(place.address)}, slot);
  }));
  for (const auto& stray : strays) {
    TRY_VOID(addresses_.remove(bytes_of(stray)));
    step.count_write();
  }
  TRY(const bool odd, read_sources(step));
  for (const auto slot : free_) {
    bpf::endpoint left{};
    left.changed = step.coming();
    if (memory_[slot].interface != 0) step.write(memory_[slot], left);
  }
  auto all = concerned;
  all.all |= odd;
  return update(all, step);
}

}  // namespace ocicat::dataplane::ebpf

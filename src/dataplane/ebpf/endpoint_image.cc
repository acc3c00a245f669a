#include "dataplane/ebpf/endpoint_image.h"

#include <algorithm>

#include "dataplane/ebpf/address_image.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;

bpf::place place_of(std::uint32_t interface, const IpAddress& address) {
  return {interface, address_of(address), 0};
}

}  // namespace

EndpointImage::EndpointImage(std::span<bpf::endpoint> endpoints, kernel::bpf::ElementMap& addresses)
    : memory_(endpoints), addresses_(addresses) {}

void EndpointImage::want_at(const std::vector<kernel::Link>& links, const std::set<int>& open) {
  open_ = {open.begin(), open.end()};
  interfaces_.clear();
  for (const auto& link : links) interfaces_.emplace(link.name, static_cast<std::uint32_t>(link.index));
}

bool EndpointImage::is_interface(const std::string& name) const {
  return std::ranges::any_of(endpoints_,
                             [&](const auto& entry) { return entry.second.interface_name == name; });
}

std::map<EndpointImage::Place, bpf::endpoint_programs> EndpointImage::wanted() const {
  std::map<Place, bpf::endpoint_programs> places;
  for (const auto& [key, endpoint] : endpoints_) {
    const auto interface = interfaces_.find(endpoint.interface_name);
    if (interface == interfaces_.end()) continue;
    for (const auto& own : endpoint.addresses) {
      places.emplace(Place{interface->second, own.address},
                     bpf::endpoint_programs{static_cast<std::uint32_t>(own.ingress),
                                            static_cast<std::uint32_t>(own.egress)});
    }
  }
  return places;
}

Result<void> EndpointImage::take_place(const Place& place, Step& step) {
  if (free_.empty())
    return fail(ErrorCode::kExhausted, "no room for more than {} addresses of workloads", memory_.size() - 1);
  const auto slot = *free_.begin();
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

Result<void> EndpointImage::update(const Concerned& concerned, Step& step) {
  const auto places = wanted();
  for (const auto& [place, slot] : std::map(slots_)) {
    if (!places.contains(place)) leave_place(place, slot, step);
  }
  for (const auto& [place, programs] : places) {
    const bool is_new = !slots_.contains(place);
    if (is_new) TRY_VOID(take_place(place, step));
    auto& endpoint = memory_[slots_.at(place)];
    const std::uint32_t flags = open_.contains(place.first) ? bpf::ENDPOINT_OPEN : 0;
    if (endpoint.flags != flags) step.write(endpoint.flags, flags);
    const bool others = step.set(endpoint.programs, programs);
    if (is_new || others || concerned(policy::ProgramId{programs.ingress}) ||
        concerned(policy::ProgramId{programs.egress})) {
      step.write(endpoint.changed, step.coming());
    }
  }
  return {};
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
  for (const auto slot : free_) {
    bpf::endpoint left{};
    left.changed = step.coming();
    if (memory_[slot].interface != 0) step.write(memory_[slot], left);
  }
  return update(concerned, step);
}

}  // namespace ocicat::dataplane::ebpf

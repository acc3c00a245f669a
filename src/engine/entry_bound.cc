// Endpoints whose programs would take more entries than there may be: those that came last are denied.
#include <algorithm>
#include <limits>
#include <utility>

#include "engine/engine_state.h"

namespace ocicat {

// Takes the programs of the endpoint that came last away. False where there is none to take any from.
bool Engine::State::deny_last() {
  const ResourceKey* last = nullptr;
  for (const auto& [key, local] : locals) {
    if (!local.in_force || local.denied) continue;
    if (last == nullptr || local.arrival > locals.at(*last).arrival) last = &key;
  }
  if (last == nullptr) return false;
  auto& local = locals.at(*last);
  local.denied = true;
  denied[*last] = 0;
  give_back(local);
  EndpointState state{.interface_name = local.interface_name, .addresses = {}};
  for (auto& address : local.addresses) {
    address = {address.address};
    state.denied.push_back(address.address);
  }
  local.source_chains = {};
  out.endpoints.update(*last, std::move(state));
  refuse(*last,
         fmt::format(
             "policy would take more than {} entries on this host: all its traffic is denied; give the "
             "endpoints here fewer policies, or policies that tell fewer peers apart, or start the agent "
             "with a higher --most-entries",
             most_entries));
  return true;
}

void Engine::State::forget_denied(const ResourceKey& key) {
  if (denied.erase(key) == 0) return;
  refuse(key, {});
  // Later ones may have been denied for its sake.
  retry_from = std::min(retry_from, locals.at(key).arrival);
}

void Engine::State::settle_programs(const policy::AddressIndex::Update& classes) {
  const auto fits = [this](const policy::AddressIndex::Update& update) {
    return programs.update(addresses, update, most_entries, out.tables);
  };
  const auto make_room = [&] {
    std::vector<ResourceKey> before;
    before.reserve(denied.size());
    for (const auto& [key, in_use] : denied) before.push_back(key);
    do {
      // With nobody left to deny the rest is the host's own, without which nobody would reach it any more.
      if (!deny_last()) {
        CHECK(programs.update(addresses, {}, std::numeric_limits<std::size_t>::max(), out.tables));
        break;
      }
    } while (!fits({}));
    for (auto& [key, in_use] : denied) {
      if (!std::ranges::binary_search(before, key)) in_use = programs.entry_count();
    }
  };
  if (!fits(classes)) make_room();
  // The first to come first.
  std::vector<std::pair<std::uint64_t, ResourceKey>> again;
  for (const auto& [key, in_use] : denied) {
    const auto arrival = locals.at(key).arrival;
    if (arrival >= retry_from || programs.entry_count() < in_use) again.emplace_back(arrival, key);
  }
  std::ranges::sort(again);
  for (const auto& [arrival, key] : again) {
    auto& local = locals.at(key);
    local.denied = false;
    forget_denied(key);
    compute(key, local);
    releasing.clear();  // it had no programs
    if (!fits({})) make_room();
  }
  retry_from = kNoRetry;
}

}  // namespace ocicat

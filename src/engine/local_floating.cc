// Who is reached under which floating address, and what this host translates for that.
#include <utility>

#include "engine/engine_state.h"

namespace ocicat {

// Whom an address belongs to by itself is never taken it from, whoever asks for it.
std::string Engine::State::why_not_floating(const IpAddress& address) const {
  if (!settings->floating_addresses) return "floatingIPs of FelixConfiguration is not Enabled";
  if (!network::may_float(address)) return "nothing can be reached under such an address from elsewhere";
  if (ways.is_host(address)) return "it is the address of a host";
  if (const auto place = addresses.find(Prefix::host(address)); place != 0) {
    std::optional<ResourceKey> first;
    for (const auto member : addresses.members(place)) {
      const bool is_endpoint = member < node_by_member.size() && node_by_member[member] != 0;
      if (is_endpoint && (!first || keys[member] < *first)) first = keys[member];
    }
    if (first) return fmt::format("it is the own address of {}", first->to_string());
  }
  return {};
}

// Nothing: nobody is reached under it.
const ResourceKey* Engine::State::floating_at(const IpAddress& address) const {
  const auto* first = floating.first(address);
  return first != nullptr && why_not_floating(address).empty() ? first : nullptr;
}

// Where packets for it have to go.
std::optional<network::Claim> Engine::State::floating_claim(const IpAddress& address) const {
  const auto* key = floating_at(address);
  if (key == nullptr) return std::nullopt;
  if (const auto it = locals.find(*key); it != locals.end()) {
    const auto& local = it->second;
    if (!local.in_force || local.interface_name.empty()) return std::nullopt;
    return network::Claim{.local = true, .interface_name = local.interface_name, .node = local.node};
  }
  return network::Claim{.node = node_names[node_by_member[keys.find(*key)]]};
}

// Whatever of this batch the answers depend on, beside endpoints that ask.
void Engine::State::touch_floating() {
  if (moved_all || !moved_nodes.empty() || !moved_blocks.empty()) return floating.touch_all();
  for (const auto& prefix : rerouted) {
    if (prefix.is_host()) floating.touch(prefix.address);
  }
}

void Engine::State::remark_local(const ResourceKey& key, const LocalEndpoint& local) {
  const bool both = !local.limits_told.empty() && !local.floating_told.empty();
  remark(key, local.limits_told + (both ? "; " : "") + local.floating_told);
}

// What a local endpoint asks for and does not get.
void Engine::State::tell_floating(const ResourceKey& key) {
  const auto it = locals.find(key);
  if (it == locals.end()) return;
  std::string told;
  for (const auto& [address, own] : floating.asked_by(key)) {
    auto why = why_not_floating(address);
    const auto& first = *floating.first(address);
    if (why.empty() && first != key) why = fmt::format("{} has it", first.to_string());
    if (why.empty()) continue;
    told += fmt::format("{}not reached under {}: {}", told.empty() ? "" : "; ", address.to_string(), why);
  }
  if (std::exchange(it->second.floating_told, told) != told) remark_local(key, it->second);
}

void Engine::State::settle_floating() {
  if (!floating.empty()) touch_floating();
  for (const auto& key : floating.take_changed()) tell_floating(key);
  for (const auto& address : floating.take_touched()) {
    rerouted.push_back(Prefix::host(address));
    for (const auto& key : floating.claimants(address)) tell_floating(key);
    const auto claim = floating_claim(address);
    if (claim && claim->local) {
      const auto& own = floating.own(*floating.first(address), address);
      const auto known = translated.find(address);
      if (known != translated.end() && known->second == own) continue;
      translated.insert_or_assign(address, own);
      out.floating.update(address, own);
    } else if (translated.erase(address) > 0) {
      out.floating.remove(address);
    }
  }
}

}  // namespace ocicat

#include "engine/engine.h"

#include <utility>

#include "engine/engine_state.h"

namespace ocicat {

void Engine::State::settle_settings() {
  if (!std::exchange(resettle, false)) return;
  static const Labels kNone;
  const auto it = node ? labels_by_node.find(*node) : labels_by_node.end();
  auto now = resolve_settings(configurations, node, it == labels_by_node.end() ? kNone : it->second, network,
                              agent_configurations);
  policies.set_encapsulation(now.encapsulation);
  policies.set_failsafes(now.failsafes);
  if (settings == now) return;
  if (settings.value_or(HostSettings{}).floating_addresses != now.floating_addresses) floating.touch_all();
  const bool judge_spoofers = settings.value_or(HostSettings{}).allow_spoofing != now.allow_spoofing;
  settings = now;
  out.settings = std::move(now);
  if (!judge_spoofers) return;
  const auto again = spoofers;
  for (const auto& [key, endpoint] : again) set(key, endpoint);
}

Engine::Engine(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

void Engine::take(const ResourceChanges& changes) {
  auto& state = *state_;
  std::size_t expected = 0;
  for (auto at = changes.entries().begin(); at != changes.entries().end(); ++at) {
    if (expected == 0) expected = state.expect(at, changes.entries().end());
    --expected;
    const auto& [key, resource] = *at;
    if (resource) {
      state.set(key, *resource);
    } else {
      state.remove(key);
    }
  }
}

HostChanges Engine::settle() {
  auto& state = *state_;
  state.settle_settings();
  state.settle_interfaces();
  for (const auto member : state.members.touched()) state.policies.touch_labels(member);
  const auto replanned = state.policies.update();
  state.settle_references();
  state.members.update(state.book, state.book.take_touched());
  auto addresses = state.addresses.update(state.members);
  state.settle_hosts(replanned);
  state.settle_locals(replanned, addresses.any);
  state.settle_overlays();
  state.settle_floating();
  state.settle_routes();
  state.settle_programs(addresses);
  state.out.tables.classes = std::move(addresses.classes);
  state.out.tables.dictionary = state.ids.end_batch();
  state.sets.end_batch();
  for (const auto member : std::exchange(state.gone_members, {})) state.keys.release(member);
  return std::exchange(state.out, {});
}

void Engine::leave_to_router() {
  state_->router = Router::kRuns;
  state_->moved_all = true;
}

Engine::Counters Engine::counters() const {
  const auto& state = *state_;
  using policy::IdSpace;
  return {.hosts = state.ways.host_count(),
          .endpoints = state.keys.size(),
          .local_endpoints = state.locals.size(),
          .host_endpoints = state.local_hosts.size(),
          .policies = state.policies.policy_count(),
          .active_policies = state.policies.active_policy_count(),
          .sets = state.sets.size(),
          .classes = state.addresses.classes().size(),
          .programs = state.programs.program_count(),
          .tables = state.ids.size(IdSpace::kTable),
          .outcomes = state.ids.size(IdSpace::kOutcome),
          .entries = state.programs.entry_count(),
          .denied_endpoints = state.denied.size()};
}

}  // namespace ocicat

// The engine against its two standards: the evaluator, and itself built from nothing.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "policy/evaluator.h"
#include "policy/simulator.h"
#include "test/support/boundary_packets.h"
#include "test/support/describe.h"
#include "test/support/for_seeds.h"
#include "test/support/history_census.h"
#include "test/support/random_history.h"
#include "test/support/random_snapshot.h"
#include "test/support/shrink.h"
#include "test/support/state_meaning.h"

namespace ocicat {
namespace {

using policy::Direction;
using test::Step;
using Steps = std::vector<Step>;

ResourceChanges all_of(const policy::Snapshot& snapshot) {
  return ResourceChanges::between({}, snapshot);
}

std::string to_text(const policy::Outcome& outcome) {
  std::string text{policy::to_string(outcome.verdict)};
  for (const auto& step : outcome.trace) {
    text += "\n    " + policy::to_string(step);
    for (const auto& key : step.selected_by) text += " " + key.to_string();
  }
  return text;
}

// Empty, or the first packet about which tables and evaluator disagree.
std::string disagreement(const policy::Evaluator& evaluator, const policy::Simulator& simulator,
                         const std::vector<policy::Packet>& packets, const ResourceKey& key,
                         const AddressPrograms& own, Direction direction) {
  const auto program = direction == Direction::kIngress ? own.ingress : own.egress;
  for (const auto& packet : packets) {
    const auto& peer = direction == Direction::kIngress ? packet.source : packet.destination;
    const auto expected = evaluator.evaluate(key, direction, packet);
    const auto& actual = simulator.lookup(program, peer, packet);
    if (expected == actual) continue;
    return fmt::format("{} {} {} port {} -> {} port {} protocol {} icmp {}/{}\n  evaluator: {}\n  tables: {}",
                       key.to_string(), policy::to_string(direction), packet.source.to_string(),
                       packet.source_port, packet.destination.to_string(), packet.destination_port,
                       packet.protocol, packet.icmp_type, packet.icmp_code, to_text(expected),
                       to_text(actual));
  }
  return {};
}

// Tables do not tell a chain that is open for lack of any policy from one that ends without an answer: the
// packet goes on either way.
policy::Outcome as_tables_say(policy::Outcome outcome) {
  const auto open = [](policy::Judgement& judgement) {
    if (judgement.verdict == policy::Verdict::kAllow && judgement.trace.empty())
      judgement.verdict = policy::Verdict::kNone;
  };
  open(outcome);
  if (outcome.pending) open(*outcome.pending);
  if (outcome.pending == static_cast<const policy::Judgement&>(outcome)) outcome.pending.reset();
  return outcome;
}

// The same for the chains of a host endpoint, whose side may have any address.
std::string disagreement_at_host(test::Random& random, const policy::Evaluator& evaluator,
                                 const policy::Simulator& simulator, const test::Boundaries& boundaries,
                                 const ResourceKey& key, const HostEndpointState& host, std::size_t packets) {
  for (std::size_t i = 0; i < packets; ++i) {
    const auto& own = random.pick(boundaries.addresses);
    for (const auto hook : policy::kHooks) {
      const auto packet = test::random_boundary_packets(random, boundaries, own, hook.direction, 1).front();
      const auto& peer = hook.direction == Direction::kIngress ? packet.source : packet.destination;
      const auto chain = host.chain(own.family(), hook);
      const auto expected = as_tables_say(evaluator.evaluate(key, hook.direction, packet, hook.chain));
      const auto& actual = simulator.lookup(chain, own, peer, packet);
      if (expected == actual) continue;
      return fmt::format(
          "{} {} {} {} port {} -> {} port {} protocol {} icmp {}/{}\n  evaluator: {}\n  tables: {}",
          key.to_string(), policy::to_string(hook.chain), policy::to_string(hook.direction),
          packet.source.to_string(), packet.source_port, packet.destination.to_string(),
          packet.destination_port, packet.protocol, packet.icmp_type, packet.icmp_code, to_text(expected),
          to_text(actual));
    }
  }
  return {};
}

// The same for what a workload sends from where it may beside its own addresses.
std::string disagreement_elsewhere(test::Random& random, const policy::Evaluator& evaluator,
                                   const policy::Simulator& simulator, const test::Boundaries& boundaries,
                                   const ResourceKey& key, const EndpointState& endpoint,
                                   std::size_t packets) {
  std::vector<IpAddress> from;
  for (const auto& source : endpoint.sources) {
    from.push_back(source.first());
    from.push_back(source.last());
  }
  std::ranges::copy_if(boundaries.addresses, std::back_inserter(from),
                       [&](const IpAddress& address) { return endpoint.may_send_from(address); });
  for (const auto& own : from) {
    const auto direction = Direction::kEgress;
    for (const auto& packet :
         test::random_boundary_packets(random, boundaries, own, direction, packets == 0 ? 200 : packets)) {
      const auto expected = evaluator.evaluate(key, direction, packet);
      const auto& actual =
          simulator.lookup(endpoint.source_chain(own.family()), own, packet.destination, packet);
      if (expected == actual) continue;
      return fmt::format("{} sends from {} to {} port {} protocol {}\n  evaluator: {}\n  tables: {}",
                         key.to_string(), own.to_string(), packet.destination.to_string(),
                         packet.destination_port, packet.protocol, to_text(expected), to_text(actual));
    }
  }
  return {};
}

// About so many packets of each address and direction; 0: about every boundary packet there is.
std::string first_disagreement(test::Random& random, const policy::Snapshot& snapshot, const HostState& state,
                               std::size_t packets) {
  const auto boundaries = test::boundaries_of(snapshot);
  const policy::Evaluator evaluator(snapshot);
  const policy::Simulator simulator(state.tables);
  for (const auto& [key, endpoint] : state.endpoints) {
    for (const auto& own : endpoint.addresses) {
      for (const auto direction : policy::kDirections) {
        const auto drawn =
            packets == 0 ? test::boundary_packets(boundaries, own.address, direction)
                         : test::random_boundary_packets(random, boundaries, own.address, direction, packets);
        if (auto found = disagreement(evaluator, simulator, drawn, key, own, direction); !found.empty())
          return found;
      }
    }
  }
  for (const auto& [key, endpoint] : state.endpoints) {
    if (auto found = disagreement_elsewhere(random, evaluator, simulator, boundaries, key, endpoint, packets);
        !found.empty())
      return found;
  }
  for (const auto& [key, host] : state.host_endpoints) {
    const auto count = packets == 0 ? 200 : packets;
    if (auto found = disagreement_at_host(random, evaluator, simulator, boundaries, key, host, count);
        !found.empty())
      return found;
  }
  return {};
}

// A history of resources, with the engine that saw it step by step.
class History {
 public:
  explicit History(std::optional<std::string> node)
      : node_(std::move(node)), engine_({.node = node_, .dictionary = {}}) {}

  HostChanges step(const ResourceChanges& changes) {
    take(changes);
    return settle();
  }
  void take(const ResourceChanges& changes) {
    for (const auto& [key, resource] : changes.entries()) {
      unreadable_.erase(key);
      if (resource && !is_readable(*resource)) unreadable_.insert(key);
      if (!resource) {
        now_.erase(key);
      } else if (is_readable(*resource) || !now_.contains(key)) {
        now_.insert_or_assign(key, *resource);
      }  // else the last readable version counts
    }
    engine_.take(changes);
  }
  HostChanges settle() {
    auto out = engine_.settle();
    out.apply_to(state_);
    out.refused.apply_to(refused_);
    return out;
  }

  const policy::Snapshot& now() const { return now_; }
  const HostState& state() const { return state_; }
  const Engine& engine() const { return engine_; }

  // Against a new engine that is given the same resources, and the ids that are in use.
  std::string difference_from_rebuilt() const {
    Engine anew({.node = node_, .dictionary = state_.tables.dictionary});
    HostState state;
    const auto changes = anew.update(all_of(now_));
    changes.apply_to(state);
    if (auto found = test::difference(state_, state); !found.empty()) return found;
    Told told;
    changes.refused.apply_to(told);
    return difference_in_told(told);
  }

 private:
  using Told = std::map<ResourceKey, std::string>;

  // What is told of a policy that cannot be read depends on whether it could before.
  std::string difference_in_told(Told told) const {
    auto mine = refused_;
    for (const auto& key : unreadable_) {
      mine.erase(key);
      told.erase(key);
    }
    for (const auto& [key, why] : mine) {
      if (!told.contains(key) || told.at(key) != why)
        return fmt::format("told of {}: {}", key.to_string(), why);
    }
    for (const auto& [key, why] : told) {
      if (!mine.contains(key)) return fmt::format("not told of {}: {}", key.to_string(), why);
    }
    return {};
  }

  static bool is_readable(const Resource& resource) {
    const auto* policy = std::get_if<NetworkPolicy>(&resource);
    return policy == nullptr || policy->staged_delete || policy::effective(*policy).has_value();
  }

  std::optional<std::string> node_;
  policy::Snapshot now_;
  Engine engine_;
  HostState state_;
  Told refused_;
  std::set<ResourceKey> unreadable_;
};

// How a history is judged, the same when it is made and when it is made smaller.
struct Judge {
  std::uint64_t seed = 0;  // of the packets
  std::optional<std::string> node;
  std::size_t packets = 0;

  // What is wrong after the last step; empty where nothing is.
  std::string operator()(const History& history) const {
    if (auto found = history.difference_from_rebuilt(); !found.empty())
      return "another state than built from nothing: " + found;
    test::Random random(seed);
    return first_disagreement(random, history.now(), history.state(), packets);
  }
  std::string operator()(const Steps& steps) const {
    History history(node);
    for (const auto& step : steps) history.step(step);
    return (*this)(history);
  }
};

struct Entry {
  std::size_t step = 0;
  ResourceKey key;
  std::optional<Resource> resource;
};

std::vector<Entry> entries_of(const Steps& steps) {
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (const auto& [key, resource] : steps[i].entries()) entries.push_back({i, key, resource});
  }
  return entries;
}

Steps steps_of(const std::vector<Entry>& entries) {
  Steps steps;
  std::optional<std::size_t> last;
  for (const auto& entry : entries) {
    if (std::exchange(last, entry.step) != entry.step) steps.emplace_back();
    entry.resource ? steps.back().update(entry.key, *entry.resource) : steps.back().remove(entry.key);
  }
  return steps;
}

// Rule by rule, where an entry has some.
template <class Fails>
void shrink_rules(std::vector<Entry>& entries, Fails fails) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    for (auto rules : {&NetworkPolicy::ingress, &NetworkPolicy::egress}) {
      auto* policy = entries[i].resource ? std::get_if<NetworkPolicy>(&*entries[i].resource) : nullptr;
      if (policy == nullptr) continue;
      policy->*rules = test::shrink(policy->*rules, [&](const std::vector<Rule>& fewer) {
        auto candidate = entries;
        std::get<NetworkPolicy>(*candidate[i].resource).*rules = fewer;
        return fails(steps_of(candidate));
      });
    }
  }
}

// The seed, and the shortest history found that fails as well: whole steps first, then objects, then rules.
std::string story(std::uint64_t seed, const Judge& judge, const Steps& steps) {
  const auto fails = [&](const Steps& fewer) { return !judge(fewer).empty(); };
  auto entries = entries_of(test::shrink(steps, fails));
  entries = test::shrink(entries, [&](const std::vector<Entry>& fewer) { return fails(steps_of(fewer)); });
  shrink_rules(entries, fails);
  const auto shrunk = steps_of(entries);
  auto text = fmt::format("OCICAT_SEED={}, for {}, {} of {} steps:\n", seed,
                          judge.node.value_or("every host"), shrunk.size(), steps.size());
  for (const auto& step : shrunk) text += "  step\n" + test::describe(step);
  return text + "  then: " + judge(shrunk);
}

std::optional<std::string> random_node(test::Random& random) {
  return random.percent(50) ? std::optional<std::string>{"host0"} : std::nullopt;
}

// A snapshot and so many steps, judged after every `stride` of them.
bool holds(std::uint64_t seed, const test::SnapshotSize& size, int length, int stride, std::size_t packets,
           test::HistoryCensus* census = nullptr) {
  test::Random random(seed);
  const Judge judge{.seed = seed, .node = random_node(random), .packets = packets};
  History history(judge.node);
  Steps steps;
  for (int i = 0; i <= length; ++i) {
    steps.push_back(i == 0 ? all_of(test::random_snapshot(random, size))
                           : test::random_step(random, history.now(), size));
    if (census != nullptr) census->note(history.now(), steps.back());
    history.step(steps.back());
    if (i % stride != 0 && i != length) continue;
    const auto found = judge(history);
    if (found.empty()) continue;
    ADD_FAILURE() << found << "\n" << story(seed, judge, steps);
    return false;
  }
  return true;
}

TEST(EngineProperty, DecisionTablesAgreeWithTheEvaluatorOnBoundaryPackets) {
  test::for_seeds(300, [](std::uint64_t seed) { return holds(seed, {}, 0, 1, 40); });
}

TEST(EngineProperty, SmallDecisionTablesAgreeWithTheEvaluatorOnEveryBoundaryPacket) {
  const test::SnapshotSize small{
      .endpoints = 2, .network_sets = 1, .tiers = 1, .profiles = 1, .policies = 2, .rules = 1};
  test::for_seeds(60, [&](std::uint64_t seed) { return holds(seed, small, 0, 1, 0); });
}

TEST(EngineProperty, StepByStepGivesWhatBuildingFromNothingGives) {
  test::for_seeds(60, [](std::uint64_t seed) { return holds(seed, {}, 25, 1, 2); });
}

TEST(EngineProperty, StepsTakenInTogetherGiveWhatBuildingFromNothingGives) {
  test::for_seeds(60, [](std::uint64_t seed) {
    test::Random random(seed);
    const Judge judge{.seed = seed, .node = random_node(random), .packets = 2};
    History history(judge.node);
    history.take(all_of(test::random_snapshot(random)));
    for (int i = 0; i < 30; ++i) {
      history.take(test::random_step(random, history.now()));
      if (random.percent(60)) continue;
      history.settle();
      const auto found = judge(history);
      EXPECT_EQ(found, "") << "OCICAT_SEED=" << seed;
      if (!found.empty()) return false;
    }
    return true;
  });
}

// Long enough for ids, places and names to be used many times over.
TEST(EngineProperty, AHistoryOfThousandsOfStepsGivesWhatBuildingFromNothingGives) {
  const test::SnapshotSize many{
      .endpoints = 12, .hosts = 4, .network_sets = 5, .tiers = 4, .profiles = 3, .policies = 10, .rules = 3};
  test::HistoryCensus census;
  test::for_seeds(2, [&](std::uint64_t seed) { return holds(seed, many, 3'000, 50, 4, &census); });
  for (const auto& [event, times] : census.counts()) std::printf("%6zu %s\n", times, event.c_str());
  EXPECT_TRUE(census.never_seen().empty()) << "not tried: " << census.never_seen().front();
}

TEST(EngineProperty, AHistoryThatEndsWithNothingLeavesNothing) {
  test::for_seeds(40, [](std::uint64_t seed) {
    test::Random random(seed);
    History history(random_node(random));
    history.step(all_of(test::random_snapshot(random)));
    for (int step = 0; step < 10; ++step) history.step(test::random_step(random, history.now()));
    while (!history.now().empty()) {
      ResourceChanges changes;
      for (const auto& [key, resource] : history.now()) {
        if (random.percent(30)) changes.remove(key);
      }
      history.step(changes);
    }
    const auto found = test::difference(history.state(), HostState{});
    const auto left = history.engine().counters();
    const auto sum = left.endpoints + left.local_endpoints + left.policies + left.active_policies +
                     left.sets + left.classes + left.programs + left.tables + left.outcomes;
    EXPECT_EQ(found, "") << "OCICAT_SEED=" << seed;
    EXPECT_EQ(sum, 0U) << "OCICAT_SEED=" << seed;
    return found.empty() && sum == 0;
  });
}

TEST(EngineProperty, AChangeToWhatIsAlreadyTrueChangesNothing) {
  test::for_seeds(60, [](std::uint64_t seed) {
    test::Random random(seed);
    History history(std::nullopt);
    history.step(all_of(test::random_snapshot(random)));
    const auto again = history.step(all_of(history.now()));
    EXPECT_TRUE(again.empty()) << "OCICAT_SEED=" << seed;
    return again.empty();
  });
}

}  // namespace
}  // namespace ocicat

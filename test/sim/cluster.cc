#include "sim/cluster.h"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>

#include "sim/documents.h"
#include "test/support/state_meaning.h"

namespace ocicat::test {
namespace {

using std::chrono::seconds;

constexpr std::size_t kFirstWrites = 30;
constexpr std::size_t kSettlingRounds = 2'000;

kernel::SimulatedRoutes machine() {
  kernel::SimulatedRoutes routes;
  int index = 1;
  routes.link_by_index[index] = {
      index, "uplink", true, {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")}};
  ++index;
  routes.link_by_index[index] = {index, "eth1", true, {*IpAddress::parse("198.51.100.1")}};
  for (const auto& name : workload_interfaces()) {
    ++index;
    routes.link_by_index[index] = {index, name, true};
  }
  routes.settings["net/ipv4/ip_forward"] = "0";
  for (const auto* address : {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.11", "192.0.2.12", "192.0.2.13",
                              "2001:db8::1", "2001:db8::2", "2001:db8::3"}) {
    routes.next_hops[*IpAddress::parse(address)] = {1, std::nullopt};
  }
  return routes;
}

class Cluster {
 public:
  explicit Cluster(std::uint64_t seed)
      : random_(seed),
        server_(now_, {.events = 4 + random_.below(12), .bytes = 1 << 20}),
        weather_{.trouble = static_cast<unsigned>(random_.below(12)),
                 .echo = static_cast<unsigned>(random_.below(25))},
        kernel_trouble_(random_.percent(50) ? 0 : static_cast<unsigned>(random_.below(25))) {
    for (const auto& node : simulated_nodes())
      agents_.push_back(std::make_unique<SimulatedAgent>(node, machine(), next_seed()));
  }

  Run play(const Moves& moves) {
    for (const auto& move : moves) {
      Random dice(move.dice);
      make(move, dice);
      for (const auto& agent : agents_) {
        if (run_.failure.empty() && !agent->opening().empty())
          run_.failure = fmt::format("{}: {}", agent->node(), agent->opening());
      }
      if (!run_.failure.empty()) return std::move(run_);
    }
    note("-- all is left to settle");
    settle();
    for (const auto& agent : agents_) {
      run_.transactions += static_cast<std::size_t>(agent->nft().commits());
      run_.judged += agent->judged();
      if (run_.failure.empty()) compare(*agent);
    }
    return std::move(run_);
  }

 private:
  void note(std::string text) {
    if (!text.empty()) run_.log.push_back(std::move(text));
  }
  std::uint32_t next_seed() { return static_cast<std::uint32_t>(random_.below(1U << 31)); }

  void make(const Move& move, Random& dice) {
    using Kind = Move::Kind;
    auto& agent = *agents_[dice.below(agents_.size())];
    switch (move.kind) {
      case Kind::kWrite:
        for (const auto& write : random_writes(dice)) make(write);
        break;
      case Kind::kHear:
        for (auto times = 1 + dice.below(10); times > 0; --times) hear(agent, dice);
        break;
      case Kind::kThink:
        note(agent.think());
        break;
      case Kind::kKeep:
        note(agent.keep(dice, kernel_trouble_));
        break;
      case Kind::kWait:
        now_ += std::chrono::milliseconds(dice.percent(10) ? 301'000 : 1 + dice.below(6'000));
        break;
      case Kind::kSettle:
        note("all settles");
        settle();
        break;
      case Kind::kRestartAgent:
        note(fmt::format("{} begins anew", agent.node()));
        agent.restart(static_cast<std::uint32_t>(dice.below(1U << 31)));
        break;
      case Kind::kRestartServer:
        restart_server(dice);
        break;
      case Kind::kLoseTable:
        note(fmt::format("{} loses its table", agent.node()));
        agent.lose_table();
        break;
      case Kind::kTurnLink:
        note(agent.turn_link(dice.below(100)));
        break;
    }
  }

  // From any of its connections on which there is something to hear.
  void hear(SimulatedAgent& agent, Random& dice) {
    const auto count = agent.connections();
    const auto first = dice.below(count);
    for (std::size_t i = 0; i < count; ++i) {
      auto heard = agent.hear((first + i) % count, server_, now_, dice, weather_);
      if (!heard.empty()) return note(std::move(heard));
    }
  }

  // What the server acknowledges it must have, whatever happens to it later.
  void make(const Write& write) {
    const auto status = server_.write(write.key, write.document);
    CHECK(status);
    note(fmt::format("{} {} {}: {}", write.document ? "apply" : "delete", write.key.to_string(),
                     write.document ? boost::json::serialize(*write.document) : "", *status));
    if (*status >= 300) return;
    ++run_.writes;
    acknowledged_[write.key] = server_.stored(write.key);
  }

  void restart_server(Random& dice) {
    const auto write = random_writes(dice).front();
    server_.die_at_next_write(dice.percent(50) ? InlineStore::Death::kBefore : InlineStore::Death::kAfter);
    const auto status = server_.write(write.key, write.document);
    note(fmt::format("the server dies over {}", write.key.to_string()));
    for (const auto& agent : agents_) agent->lose_server(now_);
    if (dice.percent(25)) {
      note("it comes back from a backup");
      server_.restore();
      for (auto& [key, text] : acknowledged_)
        text = backed_up_.contains(key) ? backed_up_.at(key) : std::nullopt;
    } else {
      server_.restart();
      // Whether a write that nobody acknowledged is there, only the store can tell.
      if (!status) acknowledged_[write.key] = server_.stored(write.key);
      backed_up_ = acknowledged_;
    }
    for (const auto& [key, text] : acknowledged_) {
      if (server_.stored(key) != text)
        run_.failure = fmt::format("after its restart the server has another {}", key.to_string());
    }
  }

  void settle() {
    Random calm(0);
    for (std::size_t round = 0; round < kSettlingRounds && run_.failure.empty(); ++round) {
      bool anything = false;
      for (const auto& agent : agents_) {
        for (std::size_t i = 0; i < agent->connections(); ++i)
          anything |= !agent->hear(i, server_, now_, calm, {}).empty();
        anything |= !agent->think().empty();
        anything |= !agent->keep(calm, 0).empty();
        if (!agent->opening().empty()) run_.failure = fmt::format("{}: {}", agent->node(), agent->opening());
      }
      if (anything) continue;
      if (std::ranges::none_of(agents_, [&](const auto& agent) { return agent->waits(now_); })) return;
      now_ += seconds(1);
    }
    if (run_.failure.empty()) run_.failure = "it never settles";
  }

  // An agent that has seen all of this against one that sees nothing but the end.
  void compare(const SimulatedAgent& agent) {
    const auto snapshot = server_.snapshot();
    const auto resources = ResourceChanges::between({}, snapshot);
    const auto differs = [&](std::string_view what) {
      run_.failure = fmt::format("{} differs from one made from nothing: {}", agent.node(), what);
    };

    Engine engine({.node = agent.node(), .dictionary = {}});
    HostState state;
    const auto first = engine.update(resources);
    first.apply_to(state);
    if (auto found = difference_in_meaning(agent.wanted(), state); !found.empty()) return differs(found);
    std::map<ResourceKey, std::string> refused;
    first.refused.apply_to(refused);
    if (agent.refused() != refused) return differs("what is refused");

    // With the ids in use, its kernel is the same to the last element.
    const auto dictionary = agent.wanted().tables.dictionary;
    Engine same_ids({.node = agent.node(), .dictionary = dictionary});
    kernel::nft::SimulatedKernel nft, nat;
    kernel::SimulatedRoutes routes = agent.routes();
    routes.routes_by_protocol.clear();
    kernel::SimulatedTunnels tunnels;
    kernel::SimulatedConnections connections;
    kernel::SimulatedQueues queues;
    dataplane::HostKeeper keeper({nft, nat, routes, tunnels, connections, queues}, {});
    keeper.take(same_ids.update(resources));
    const bool done = keeper.attempt();
    if (done != agent.report().error.empty()) return differs("report: " + agent.report().error);
    for (const auto& [set, elements] : nft.all_elements()) {
      if (set.starts_with("step")) continue;  // how many there were
      const auto found = agent.nft().all_elements().find(set);
      if (found == agent.nft().all_elements().end() || found->second != elements)
        return differs("elements of " + set);
    }
    auto kept_routes = agent.routes();
    if (kept_routes.routes_by_protocol[80] != routes.routes_by_protocol[80]) return differs("routes");
    if (agent.report().endpoints_ready != keeper.report().endpoints_ready) return differs("readiness");
  }

  Random random_;
  Time now_{seconds(1'000)};
  SimulatedServer server_;
  const Weather weather_;
  const unsigned kernel_trouble_;
  std::vector<std::unique_ptr<SimulatedAgent>> agents_;
  std::map<ResourceKey, std::optional<std::string>> acknowledged_;
  std::map<ResourceKey, std::optional<std::string>> backed_up_;  // what was, when the backup was made
  Run run_;
};

}  // namespace

Moves random_moves(std::uint64_t seed, std::size_t count) {
  using Kind = Move::Kind;
  Random random(seed);
  Moves moves(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto which = random.below(1000);
    moves[i].kind = i < kFirstWrites || which < 150 ? Kind::kWrite
                    : which < 500                   ? Kind::kHear
                    : which < 700                   ? Kind::kThink
                    : which < 900                   ? Kind::kKeep
                    : which < 965                   ? Kind::kWait
                    : which < 972                   ? Kind::kSettle
                    : which < 977                   ? Kind::kRestartAgent
                    : which < 982                   ? Kind::kRestartServer
                    : which < 985                   ? Kind::kLoseTable
                                                    : Kind::kTurnLink;
    moves[i].dice = random.below(SIZE_MAX);
  }
  if (count > kFirstWrites && random.percent(70)) moves[kFirstWrites].kind = Kind::kSettle;
  return moves;
}

Run run(std::uint64_t seed, const Moves& moves) {
  return Cluster(seed).play(moves);
}

}  // namespace ocicat::test

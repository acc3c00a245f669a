// What policy costs the first packet of a flow, from ten rules to a hundred thousand, 200,000 addresses being
// known; and what netfilter takes for as many. Needs root.
//
//   verdict    a packet that policy refuses, less one that is dropped at the same place without asking: its
//              headers, its connection, its workload and its route looked at, and the verdict
//   new flow   a packet that opens a connection from one workload to another: two verdicts, noted, forwarded
//   method     benchmarks.md 5, B1 and B3: UDP of 64 bytes as XDP live frames, arms in turn
//
// Prints lines `figure value unit`; what each arm took goes to the error output.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>

#include "base/large_pages.h"
#include "bench/policies.h"
#include "bench/router.h"
#include "maps/counters.h"

namespace ocicat::bench {
namespace {

constexpr int kTurns = 8;
constexpr std::uint32_t kKnown = 200'000;
constexpr std::array kSizes{10U, 100U, 1'000U, 10'000U, 100'000U};

struct Arm {
  std::string name;
  unsigned rules = 0;
  std::unique_ptr<Router> router = std::make_unique<Router>();
  std::uint32_t slow = 1;  // takes so many times fewer packets
  std::vector<double> rounds{};

  double least() const { return cost_of(rounds).least; }
  double quarter() const { return cost_of(rounds).quarter; }
};

// In turn, there and back.
void turns_of(std::vector<Arm*> arms, Load& load, const Flows& flows) {
  for (auto* arm : arms) arm->rounds.clear();
  for (int turn = 0; turn < kTurns; ++turn) {
    for (auto* arm : arms)
      arm->router->turn(load, "a", flows, static_cast<std::uint32_t>(turn), Router::Fate::kAreRefused,
                        arm->rounds, arm->slow);
    std::ranges::reverse(arms);
  }
}

std::string elements(unsigned rules, const char* verdict) {
  std::string text;
  for (unsigned i = 0; i < rules; ++i)
    text +=
        fmt::format("{}{} . {}{}", i == 0 ? "" : ",", known_address(i).to_string(), known_port(i), verdict);
  return text;
}

// Tables of netfilter, in a chain of its forward hook that drops in the end.
std::string ruleset(const std::string& body) {
  return "table ip peer {\n" + body + "}\n";
}
std::string chain(const std::string& rules) {
  return "chain forward { type filter hook forward priority 0;\n" + rules + "drop\n}\n";
}
std::string verdict_map(unsigned rules) {
  return ruleset(fmt::format("map known {{ type ipv4_addr . inet_service : verdict; elements = {{ {} }} }}\n",
                             elements(rules, " : accept")) +
                 chain("ip daddr . udp dport vmap @known\n"));
}
// As Calico writes it: a chain for each policy, in which each rule asks its own set.
std::string rule_by_rule(unsigned rules) {
  std::string sets, chains, jumps;
  for (unsigned i = 0; i < rules; ++i) {
    sets +=
        fmt::format("set s{} {{ type ipv4_addr; elements = {{ {} }} }}\n", i, known_address(i).to_string());
  }
  for (unsigned i = 0; i < rules; i += 10) {
    chains += fmt::format("chain p{} {{\n", i);
    for (unsigned j = i; j < std::min(rules, i + 10); ++j)
      chains += fmt::format("meta l4proto udp ip daddr @s{} udp dport {} accept\n", j, known_port(j));
    chains += "}\n";
    jumps += fmt::format("jump p{}\n", i);
  }
  return ruleset(sets + chains + chain(jumps));
}

// The same for iptables, with ipset: a rule for each, with a set of its own.
void ask_sets_by_iptables(Router& router, unsigned rules) {
  std::string sets, filter = "*filter\n:FORWARD DROP [0:0]\n";
  for (unsigned i = 0; i < rules; ++i) {
    sets += fmt::format("create s{0} hash:ip\nadd s{0} {1}\n", i, known_address(i).to_string());
    filter += fmt::format("-A FORWARD -p udp -m set --match-set s{} dst -m udp --dport {} -j ACCEPT\n", i,
                          known_port(i));
  }
  router.shell("ipset restore <<'END'\n" + sets + "END\n");
  router.shell("iptables-legacy-restore <<'END'\n" + filter + "COMMIT\nEND\n");
}

class Comparison {
 public:
  Comparison() {
    dropped_.router->drop_at(load_, "a");
    in_stack_.router->rules(ruleset(chain("")));
    PolicyStates states({.known = kKnown, .rules_a_policy = 100});
    for (const auto rules : kSizes) {
      auto& arm = ours_.emplace_back(Arm{fmt::format("ours-{}", rules), rules});
      arm.router->enforce(states.with(rules));
      arm.router->count_at(load_, "b");
    }
    for (const auto rules : {1'000U, 100'000U}) {
      auto& arm = peers_.emplace_back(Arm{fmt::format("vmap-{}", rules), rules});
      arm.router->rules(verdict_map(rules));
    }
    auto& linear = peers_.emplace_back(Arm{"rules-1000", 1'000});
    linear.router->rules(rule_by_rule(1'000));
    linear.slow = 64;
    auto& with_sets = peers_.emplace_back(Arm{"ipset-1000", 1'000});
    ask_sets_by_iptables(*with_sets.router, with_sets.rules);
    with_sets.slow = 64;
  }

  void verdicts() {
    for (const std::uint32_t addresses : {4'096U, 65'536U}) {
      const bool hot = addresses == 4'096U;
      const Flows flows{.source = address_of_station("a"),
                        .destination = known_address(0),
                        .count = addresses,
                        .addresses = addresses,
                        .by_destination = true,
                        .random = true};
      std::vector<Arm*> arms{&dropped_, &in_stack_};
      for (auto& arm : ours_) arms.push_back(&arm);
      for (auto& arm : peers_) arms.push_back(&arm);
      const auto before = refused();
      turns_of(arms, load_, flows);
      CHECK(refused() - before ==
            std::uint64_t{ours_.size()} * kTurns * Router::packets_a_turn(flows));  // every packet was judged
      for (const auto* arm : arms) {
        std::fprintf(stderr, "verdict %s %-12s %7.0f (%.0f) ns, over dropping %7.0f (%.0f)\n",
                     hot ? "hot " : "cold", arm->name.c_str(), arm->least(), arm->quarter(), over(*arm),
                     arm->quarter() - base(*arm).quarter());
      }
      const auto& first = ours_.front();
      const auto& last = ours_.back();
      std::printf("verdict-flatness-%s %.3f x\n", hot ? "hot" : "cold", over(last) / over(first));
      std::printf("verdict-%s %.0f ns\n", hot ? "hot" : "cold", over(last));
      if (!hot) continue;
      std::printf("verdict-vs-peers-map %.3f x\n", over(last) / over(peers_[1]));
      std::printf("verdict-vs-peers-rules %.0f x\n", over(peers_[2]) / over(ours_[2]));
      std::printf("verdict-vs-peers-ipset %.0f x\n", over(peers_[3]) / over(ours_[2]));
    }
  }

  void new_flows() {
    const Flows flows{
        .source = address_of_station("a"), .destination = address_of_station("b"), .count = 1U << 30};
    for (auto* arm : {&ours_.front(), &ours_.back()}) arm->rounds.clear();
    std::map<Arm*, std::uint32_t> from;
    for (int turn = 0; turn < kTurns; ++turn) {
      for (auto* arm : turn % 2 == 0 ? std::array{&ours_.front(), &ours_.back()}
                                     : std::array{&ours_.back(), &ours_.front()}) {
        arm->router->turn(load_, "a", flows, from[arm], Router::Fate::kArrive, arm->rounds);
        from[arm] += Router::packets_a_turn(flows);
      }
    }
    const auto& few = ours_.front();
    const auto& many = ours_.back();
    for (const auto* arm : {&few, &many})
      std::fprintf(stderr, "new flow %-12s %7.0f (%.0f) ns\n", arm->name.c_str(), arm->least(),
                   arm->quarter());
    std::printf("new-connections-flow %.0f ns\n", many.least());
    std::printf("new-connections-flatness %.3f x\n", many.least() / few.least());
    CHECK(load_.lost() == 0);
  }

 private:
  std::uint64_t refused() const {
    std::uint64_t sum = 0;
    for (const auto& arm : ours_) sum += arm.router->counters().at(bpf::DROP_POLICY);
    return sum;
  }
  const Arm& base(const Arm& arm) const {
    return arm.name.starts_with("ours") || &arm == &dropped_ ? dropped_ : in_stack_;
  }
  double over(const Arm& arm) const { return arm.least() - base(arm).least(); }

  Load load_;
  Arm dropped_{"dropped"}, in_stack_{"stack-drops"};
  std::vector<Arm> ours_, peers_;
};

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  ocicat::use_large_pages();  // as the agent does
  const std::string_view what = argc > 1 ? argv[1] : "";
  ocicat::bench::Comparison comparison;
  if (what != "new") comparison.verdicts();
  if (what != "verdicts") comparison.new_flows();
}

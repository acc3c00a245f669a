// What comes from a block list of prefixes ends in the driver: untracked policy with eBPF, against a program
// that drops everything, and against netfilter's two earliest places. Needs root.
//
//   method   benchmarks.md 5 and B13: UDP of 64 bytes from 4,096 sources at random, all of them blocked, which
//            the outside sends as XDP live frames through its veth; arms in turn
//   list     half of it /24, a fifth single addresses, the rest from /22 to /29
//
// Prints lines `figure value unit`; what each arm took goes to the error output.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <list>

#include "base/large_pages.h"
#include "bench/policies.h"
#include "bench/router.h"
#include "maps/counters.h"

namespace ocicat::bench {
namespace {

constexpr int kTurns = 12;
constexpr std::uint32_t kSources = 4'096;
constexpr std::uint32_t kFirstBlocked = 0x0b000000;  // 11.0.0.0
constexpr unsigned kSpacing = 10;                    // bits between one prefix and the next

Prefix blocked(std::uint32_t number) {
  constexpr std::array<std::uint8_t, 16> kLengths{24, 24, 24, 24, 24, 24, 24, 24,
                                                  32, 32, 32, 22, 23, 26, 28, 29};
  return {IpAddress::v4(kFirstBlocked + (number << kSpacing)),
          kLengths.at(test::mixed(13, number) % kLengths.size())};
}

struct Arm {
  std::string name;
  std::unique_ptr<Router> router = std::make_unique<Router>();
  std::vector<double> rounds{};

  Cost cost() const { return cost_of(rounds); }
};

HostChanges blocking(std::uint32_t count) {
  HostEndpoint edge;
  edge.metadata.name = "edge";
  edge.metadata.labels["edge"] = "yes";
  edge.node = test::kShapeNode;
  edge.interface_name = "uplink";
  NetworkSet list;
  list.metadata.name = "blocked";
  list.metadata.labels["list"] = "blocked";
  for (std::uint32_t i = 0; i < count; ++i) list.nets.push_back(blocked(i));
  NetworkPolicy policy;
  policy.kind = Kind::kGlobalNetworkPolicy;
  policy.metadata.name = "no-blocked";
  policy.selector = "has(edge)";
  policy.do_not_track = policy.apply_on_forward = policy.applies_to_ingress = true;
  Rule rule;
  rule.action = Action::kDeny;
  rule.source.selector = "list == 'blocked'";
  policy.ingress.push_back(std::move(rule));

  ResourceChanges changes;
  const auto add = [&](Kind kind, Resource resource) {
    auto made = test::item(kind, std::move(resource));
    changes.update(std::move(made.key), std::move(made.resource));
  };
  add(Kind::kHostEndpoint, std::move(edge));
  add(Kind::kGlobalNetworkSet, std::move(list));
  add(Kind::kGlobalNetworkPolicy, std::move(policy));
  return Engine({.node = test::kShapeNode, .dictionary = {}}).update(changes);
}

std::string nft_rules(std::uint32_t count) {
  std::string elements;
  for (std::uint32_t i = 0; i < count; ++i)
    elements += fmt::format("{}{}", i == 0 ? "" : ",", blocked(i).to_string());
  return fmt::format(
      "table netdev peer {{\nset blocked {{ type ipv4_addr; flags interval; elements = {{ {} }} }}\n"
      "chain ingress {{ type filter hook ingress device uplink priority 0;\nip saddr @blocked drop\n}}\n}}\n",
      elements);
}

void block_by_ipset(const Router& router, std::uint32_t count) {
  const auto file = fmt::format("/tmp/ocicat-bench-{}.ipset", ::getpid());
  {
    std::ofstream out(file);
    out << fmt::format("create blocked hash:net hashsize {} maxelem {}\n", count, count);
    for (std::uint32_t i = 0; i < count; ++i) out << "add blocked " << blocked(i).to_string() << '\n';
  }
  router.shell("ipset restore < " + file);
  std::filesystem::remove(file);
  router.shell("iptables-legacy -t raw -A PREROUTING -m set --match-set blocked src -j DROP");
}

class Comparison {
 public:
  Comparison() {
    bare_.router->drop_in_driver(load_, "outside");
    for (const std::uint32_t count : {10'000U, 100'000U}) {
      const auto size = fmt::format("{}k", count / 1'000);
      auto& ours = arms_.emplace_back(Arm{"ours-" + size});
      ours.router->enforce(blocking(count));
      auto& nft = arms_.emplace_back(Arm{"nft-" + size});
      nft.router->rules(nft_rules(count));
      auto& ipset = arms_.emplace_back(Arm{"ipset-" + size});
      block_by_ipset(*ipset.router, count);
      for (auto* arm : {&ours, &nft, &ipset}) arm->router->count_at(load_, "b");
      for (auto* arm : {&nft, &ipset})
        arm->router->shell("ethtool -K uplink gro on");  // or it takes no frames
      measure(count, size, ours, nft, ipset);
      arms_.clear();
    }
  }

 private:
  void measure(std::uint32_t count, const std::string& size, Arm& ours, Arm& nft, Arm& ipset) {
    Flows flows{.source = IpAddress::v4(kFirstBlocked),
                .destination = address_of_station("b"),
                .count = kSources * 16,
                .addresses = kSources,
                .stride = (count / kSources) << kSpacing,
                .random = true,
                .leaves = true};
    const std::array arms{&bare_, &ours, &nft, &ipset};
    for (auto* arm : arms) arm->rounds.clear();
    const auto arrived = load_.arrived();
    const auto before = dropped(ours);
    for (int turn = 0; turn < kTurns; ++turn) {
      for (std::size_t i = 0; i < arms.size(); ++i) {
        auto& arm = *arms.at(turn % 2 == 0 ? i : arms.size() - 1 - i);
        arm.router->turn(load_, "outside", flows, static_cast<std::uint32_t>(turn), Router::Fate::kAreRefused,
                         arm.rounds);
      }
    }
    CHECK(load_.arrived() == arrived);
    const std::uint64_t sent = std::uint64_t{kTurns} * Router::packets_a_turn(flows);
    std::fprintf(stderr, "%s: %lu of %lu dropped by ours\n", size.c_str(), dropped(ours) - before, sent);
    CHECK(dropped(ours) - before == sent);
    for (const auto* arm : arms) {
      std::fprintf(stderr, "%-12s %6.0f (%.0f) ns, over bare %6.0f (%.0f)\n", arm->name.c_str(),
                   arm->cost().least, arm->cost().quarter, arm->cost().least - bare_.cost().least,
                   arm->cost().quarter - bare_.cost().quarter);
    }
    std::printf("xdp-drop-%s %.0f ns\n", size.c_str(), ours.cost().least - bare_.cost().least);
    std::printf("xdp-drop-%s-nft %.2f x\n", size.c_str(), nft.cost().least / ours.cost().least);
    std::printf("xdp-drop-%s-ipset %.2f x\n", size.c_str(), ipset.cost().least / ours.cost().least);
  }

  static std::uint64_t dropped(const Arm& arm) { return arm.router->counters().at(bpf::DROP_POLICY); }

  Load load_;
  Arm bare_{"bare"};
  std::list<Arm> arms_;
};

}  // namespace
}  // namespace ocicat::bench

int main() {
  ocicat::use_large_pages();  // as the agent does
  ocicat::bench::Comparison{};
}

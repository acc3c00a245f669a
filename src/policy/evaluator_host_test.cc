// Host endpoints: semantics.md 2.2 to 2.4, as far as the evaluator decides them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/evaluator.h"
#include "test/support/world.h"

namespace ocicat::policy {
namespace {

using enum ChainKind;
using test::global_egress;
using test::global_ingress;
using test::host_key;
using test::lines;
using test::World;
using testing::ElementsAre;
using testing::IsEmpty;

const Rule kAllow{.action = Action::kAllow};
const Rule kDeny{.action = Action::kDeny};
const Rule kPass{.action = Action::kPass};
const Rule kLog{.action = Action::kLog};
const Rule kAllowUdp{.action = Action::kAllow, .protocol = ProtocolMatch{kUdp}};

constexpr const char* kHost = "192.0.2.1";
constexpr const char* kPeer = "192.0.2.9";

NetworkPolicy forwarded(NetworkPolicy policy) {
  policy.apply_on_forward = true;
  return policy;
}
NetworkPolicy untracked(NetworkPolicy policy) {
  policy.apply_on_forward = policy.do_not_track = true;
  return policy;
}
NetworkPolicy pre_dnat(NetworkPolicy policy) {
  policy.apply_on_forward = policy.pre_dnat = true;
  return policy;
}
NetworkPolicy staged(NetworkPolicy policy) {
  policy.kind = Kind::kStagedGlobalNetworkPolicy;
  return policy;
}
NetworkPolicy in_tier(std::string tier, NetworkPolicy policy) {
  policy.tier = std::move(tier);
  return policy;
}

World host(const std::string& interface_name = "eth0") {
  World world;
  world.with_host("edge", interface_name, {kHost}, {{"role", "edge"}});
  return world;
}

const Packet kIn = test::packet(kTcp, kPeer, kHost, 80);
const Packet kOut = test::packet(kTcp, kHost, kPeer, 80);

Outcome at(const World& world, ChainKind chain, Direction direction = Direction::kIngress) {
  return Evaluator{world.snapshot}.evaluate(host_key("edge"), direction,
                                            direction == Direction::kIngress ? kIn : kOut, chain);
}

// --- which policies a chain has (2.2) ---

TEST(HostEndpointChains, HaveTheirOwnPoliciesEach) {
  struct Row {
    const char* says;
    NetworkPolicy policy;
    Verdict normal, forward, untracked, pre_dnat;
  };
  const Row kRows[] = {
      {"plain", global_ingress("p", {kDeny}), Verdict::kDeny, Verdict::kAllow, Verdict::kNone,
       Verdict::kNone},
      {"applyOnForward: normal and forward", forwarded(global_ingress("p", {kDeny})), Verdict::kDeny,
       Verdict::kDeny, Verdict::kNone, Verdict::kNone},
      {"doNotTrack: untracked only", untracked(global_ingress("p", {kDeny})), Verdict::kAllow,
       Verdict::kAllow, Verdict::kDeny, Verdict::kNone},
      {"preDNAT: pre-DNAT only", pre_dnat(global_ingress("p", {kDeny})), Verdict::kAllow, Verdict::kAllow,
       Verdict::kNone, Verdict::kDeny},
      {"preDNAT has no egress", pre_dnat(global_egress("p", {kDeny})), Verdict::kAllow, Verdict::kAllow,
       Verdict::kNone, Verdict::kNone},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.says);
    auto world = host();
    world.with_policy(row.policy).with_host("edge", "eth0", {kHost}, {}, {"projectcalico-default-allow"});
    EXPECT_EQ(at(world, kNormal).verdict, row.normal);
    EXPECT_EQ(at(world, kForward).verdict, row.forward);
    EXPECT_EQ(at(world, kUntracked).verdict, row.untracked);
    EXPECT_EQ(at(world, kPreDnat).verdict, row.pre_dnat);
  }
}

TEST(HostEndpointChains, OfAWorkloadAreTheNormalOneOnly) {
  World world;
  world.with_namespace("shop").with_pod("shop/api", {kHost});
  for (const auto& policy :
       {untracked(global_ingress("u", {kDeny})), pre_dnat(global_ingress("d", {kDeny}))}) {
    world.with_policy(policy);
  }
  const Evaluator evaluator{world.snapshot};
  const auto verdict = [&](ChainKind chain) {
    return evaluator.evaluate(test::pod_key("shop/api"), Direction::kIngress, kIn, chain).verdict;
  };
  EXPECT_EQ(verdict(kNormal), Verdict::kAllow);
  EXPECT_EQ(verdict(kForward), Verdict::kAllow);
  EXPECT_EQ(verdict(kUntracked), Verdict::kNone);
  EXPECT_EQ(verdict(kPreDnat), Verdict::kNone);
}

TEST(HostEndpointChains, OfNamespacedPolicyAreNeverForward) {
  auto world = host();
  world.with_host("edge", "eth0", {kHost}, {{"projectcalico.org/namespace", "shop"}});
  world.with_policy(test::ingress_in("shop", "p", {kDeny}));
  EXPECT_EQ(at(world, kNormal).verdict, Verdict::kDeny);
  EXPECT_EQ(at(world, kForward).verdict, Verdict::kAllow);
}

// --- how chains end (2.3) ---

TEST(HostEndpointChains, NormalDeniesWithoutPolicyAndProfiles) {
  const auto outcome = at(host(), kNormal);
  EXPECT_EQ(outcome.verdict, Verdict::kDeny);
  EXPECT_THAT(lines(outcome), ElementsAre("__PROFILE__|-|no profile|deny"));
}

TEST(HostEndpointChains, NormalAsksProfilesAfterTiers) {
  auto world = host();
  world.with_host("edge", "eth0", {kHost}, {}, {"projectcalico-default-allow"});
  EXPECT_EQ(at(world, kNormal).verdict, Verdict::kAllow);
  world.with_tier("soft", 1, Action::kPass).with_policy(in_tier("soft", global_ingress("p", {})));
  EXPECT_EQ(at(world, kNormal).verdict, Verdict::kAllow);
  world.with_policy(global_ingress("hard", {kAllowUdp}));
  EXPECT_THAT(lines(at(world, kNormal)),
              ElementsAre("soft|-|end of tier|pass", "default|-|end of tier|deny"));
}

TEST(HostEndpointChains, ForwardDeniesAtTheEndOfATierAndHasNoProfiles) {
  auto world = host();
  world.with_host("edge", "eth0", {kHost}, {}, {"projectcalico-default-allow"});
  world.with_policy(forwarded(global_ingress("p", {kAllowUdp})));
  EXPECT_THAT(lines(at(world, kForward)), ElementsAre("default|-|end of tier|deny"));
  world.with_tier("default", 1, Action::kPass);
  const auto passed = at(world, kForward);
  EXPECT_EQ(passed.verdict, Verdict::kNone);
  EXPECT_THAT(lines(passed), ElementsAre("default|-|end of tier|pass"));
}

TEST(HostEndpointChains, ForwardAllowsOnlyWhereThereAreNoForwardTiersAtAll) {
  auto world = host();
  EXPECT_EQ(at(world, kForward, Direction::kIngress).verdict, Verdict::kAllow);
  world.with_policy(forwarded(global_egress("p", {kDeny})));
  EXPECT_EQ(at(world, kForward, Direction::kIngress).verdict, Verdict::kNone);
  EXPECT_EQ(at(world, kForward, Direction::kEgress).verdict, Verdict::kDeny);
}

TEST(HostEndpointChains, AllowOneTierAfterTheOther) {
  auto world = host();
  world.with_tier("first", 1, Action::kDeny);
  world.with_policy(in_tier("first", forwarded(global_ingress("a", {kLog, kPass}))));
  world.with_policy(forwarded(global_ingress("b", {kAllow})));
  EXPECT_THAT(lines(at(world, kForward)),
              ElementsAre("first|GlobalNetworkPolicy a|rule 0|log", "first|GlobalNetworkPolicy a|rule 1|pass",
                          "default|GlobalNetworkPolicy b|rule 0|allow"));
}

TEST(HostEndpointChains, UntrackedAndPreDnatDenyAtNoTiersEndAndHaveNoProfiles) {
  for (const auto chain : {kUntracked, kPreDnat}) {
    const auto made = [&](NetworkPolicy policy) {
      return chain == kUntracked ? untracked(policy) : pre_dnat(policy);
    };
    auto world = host();
    world.with_policy(made(global_ingress("p", {kAllowUdp})));
    const auto outcome = at(world, chain);
    EXPECT_EQ(outcome.verdict, Verdict::kNone);
    EXPECT_THAT(lines(outcome), ElementsAre("default|-|end of tier|pass"));
    world.with_policy(made(global_ingress("p", {kAllow})));
    EXPECT_EQ(at(world, chain).verdict, Verdict::kAllow);
    world.with_policy(made(global_ingress("p", {kDeny})));
    EXPECT_EQ(at(world, chain).verdict, Verdict::kDeny);
  }
}

TEST(HostEndpointChains, WithoutApplicablePolicyGoOn) {
  for (const auto chain : {kUntracked, kPreDnat}) {
    const auto outcome = at(host(), chain);
    EXPECT_EQ(outcome.verdict, Verdict::kNone);
    EXPECT_THAT(outcome.trace, IsEmpty());
  }
}

TEST(HostEndpointChains, OfStagedPoliciesOnlyAreAsIfThereWereNone) {
  auto world = host();
  world.with_policy(staged(forwarded(global_ingress("p", {kDeny}))));
  EXPECT_EQ(at(world, kForward).verdict, Verdict::kAllow);
  EXPECT_EQ(
      Evaluator{world.snapshot}.explain(host_key("edge"), Direction::kIngress, kIn, kForward).pending.verdict,
      Verdict::kDeny);
}

TEST(HostEndpointChains, DenyWhereAPolicyIsBroken) {
  auto policy = untracked(global_ingress("p", {}));
  policy.broken = "unreadable";
  auto world = host();
  world.with_policy(policy);
  EXPECT_THAT(lines(at(world, kUntracked)), ElementsAre("default|GlobalNetworkPolicy p|broken|deny"));
}

TEST(HostEndpointChains, OfStarHaveNoUntrackedPolicy) {
  auto world = host("*");
  world.with_policy(untracked(global_ingress("p", {kDeny})));
  world.with_policy(pre_dnat(global_ingress("d", {kDeny})));
  EXPECT_EQ(at(world, kUntracked).verdict, Verdict::kNone);
  EXPECT_EQ(at(world, kPreDnat).verdict, Verdict::kDeny);
}

TEST(HostEndpointChains, MaySendTunnelledPackets) {
  auto world = host();
  world.with_policy(global_egress("p", {kAllow}));
  const Evaluator evaluator{world.snapshot};
  for (const auto& packet : {test::packet(kUdp, kHost, kPeer, 4789), test::packet(kIpInIp, kHost, kPeer)}) {
    EXPECT_EQ(evaluator.evaluate(host_key("edge"), Direction::kEgress, packet).verdict, Verdict::kAllow);
  }
}

// --- members of sets ---

TEST(HostEndpoints, AreMembersOfSetsByTheirExpectedAddressesWhereverTheyAre) {
  Rule from_edges{.action = Action::kAllow};
  from_edges.source.selector = "role == 'edge'";
  World world;
  world.with_namespace("shop")
      .with_pod("shop/api", {"10.0.0.1"})
      .with_policy(global_ingress("p", {from_edges}));
  world.with_host("edge", "eth0", {kHost}, {{"role", "edge"}});
  const Evaluator evaluator{world.snapshot};
  const auto verdict = [&](const char* from) {
    return evaluator
        .evaluate(test::pod_key("shop/api"), Direction::kIngress, test::packet(kTcp, from, "10.0.0.1", 80))
        .verdict;
  };
  EXPECT_EQ(verdict(kHost), Verdict::kAllow);
  EXPECT_EQ(verdict(kPeer), Verdict::kDeny);
}

TEST(HostEndpoints, InheritLabelsOfTheirProfilesAndHaveNamedPorts) {
  Rule to_ssh{.action = Action::kAllow, .protocol = ProtocolMatch{kTcp}};
  to_ssh.destination.selector = "zone == 'dmz'";
  to_ssh.destination.ports = {std::string{"ssh"}};
  World world;
  world.with_profile({.metadata = {.name = "dmz"}, .labels_to_apply = {{"zone", "dmz"}}});
  world.with_host("edge", "eth0", {kHost}, {}, {"dmz"}, {{"ssh", kTcp, 2022}});
  world.with_policy(global_ingress("p", {to_ssh}));
  const Evaluator evaluator{world.snapshot};
  const auto verdict = [&](std::uint16_t port) {
    return evaluator.evaluate(host_key("edge"), Direction::kIngress, test::packet(kTcp, kPeer, kHost, port))
        .verdict;
  };
  EXPECT_EQ(verdict(2022), Verdict::kAllow);
  EXPECT_EQ(verdict(2023), Verdict::kDeny);
}

TEST(HostEndpoints, HaveAnOpenSideWhoseOwnersRulesAskAbout) {
  Rule to_api{.action = Action::kAllow};
  to_api.destination.selector = "role == 'api'";
  auto world = host();
  world.with_namespace("shop").with_pod("shop/api", {"10.0.0.1"}, {{"role", "api"}});
  world.with_policy(forwarded(global_ingress("p", {to_api})));
  const Evaluator evaluator{world.snapshot};
  const auto verdict = [&](const char* to) {
    return evaluator
        .evaluate(host_key("edge"), Direction::kIngress, test::packet(kTcp, kPeer, to, 80), kForward)
        .verdict;
  };
  EXPECT_EQ(verdict("10.0.0.1"), Verdict::kAllow);
  EXPECT_EQ(verdict("10.0.0.2"), Verdict::kDeny);
}

// --- failsafe ports ---

Verdict failsafe(const Labels& values, Direction direction, const Packet& packet, ChainKind chain = kNormal) {
  auto world = host();
  FelixConfiguration configuration;
  configuration.metadata.name = "default";
  configuration.values = values;
  world.snapshot.insert_or_assign(ResourceKey{Kind::kFelixConfiguration, "", "default"}, configuration);
  for (auto policy : {global_ingress("in", {kDeny}), global_egress("out", {kDeny})}) {
    world.with_policy(policy);
    policy.metadata.name += "-forward";
    world.with_policy(forwarded(policy));
    policy.metadata.name += "-untracked";
    world.with_policy(untracked(policy));
  }
  world.with_policy(pre_dnat(global_ingress("dnat", {kDeny})));
  return Evaluator{world.snapshot}.evaluate(host_key("edge"), direction, packet, chain).verdict;
}

TEST(FailsafePorts, AreOpenWhateverPolicySays) {
  struct Ports {
    Direction direction;
    Protocol protocol;
    std::vector<std::uint16_t> open;
  };
  const Ports kPorts[] = {
      {Direction::kIngress, kTcp, {22, 179, 2379, 2380, 5473, 6443, 6666, 6667}},
      {Direction::kIngress, kUdp, {68}},
      {Direction::kEgress, kTcp, {179, 2379, 2380, 5473, 6443, 6666, 6667}},
      {Direction::kEgress, kUdp, {53, 67}},
  };
  for (const auto& [direction, protocol, open] : kPorts) {
    for (std::uint32_t port = 0; port < 7000; ++port) {
      const bool in = direction == Direction::kIngress;
      const auto packet =
          test::packet(protocol, in ? kPeer : kHost, in ? kHost : kPeer, static_cast<std::uint16_t>(port));
      const bool is_open = std::ranges::find(open, port) != open.end();
      if (port % 500 != 0 && !is_open && std::ranges::find(open, port + 1) == open.end()) continue;
      EXPECT_EQ(failsafe({}, direction, packet), is_open ? Verdict::kAllow : Verdict::kDeny)
          << to_string(direction) << " " << port;
    }
  }
}

TEST(FailsafePorts, AreNotAskedAboutWhatIsForwarded) {
  const auto ssh = test::packet(kTcp, kPeer, kHost, 22);
  EXPECT_EQ(failsafe({}, Direction::kIngress, ssh, kForward), Verdict::kDeny);
}

TEST(FailsafePorts, LeaveUntrackedAndPreDnatChainsWithoutAnAnswer) {
  const auto ssh = test::packet(kTcp, kPeer, kHost, 22);
  EXPECT_EQ(failsafe({}, Direction::kIngress, ssh, kUntracked), Verdict::kNone);
  EXPECT_EQ(failsafe({}, Direction::kIngress, ssh, kPreDnat), Verdict::kNone);
  EXPECT_EQ(failsafe({}, Direction::kIngress, kIn, kPreDnat), Verdict::kDeny);
}

TEST(FailsafePorts, PassRepliesBeforeConnectionTracking) {
  auto reply = test::packet(kTcp, kHost, kPeer, 40'000);
  reply.source_port = 22;
  EXPECT_EQ(failsafe({}, Direction::kEgress, reply, kUntracked), Verdict::kNone);
  EXPECT_EQ(failsafe({}, Direction::kEgress, reply), Verdict::kDeny);
  auto answer = test::packet(kUdp, kPeer, kHost, 40'000);
  answer.source_port = 53;
  EXPECT_EQ(failsafe({}, Direction::kIngress, answer, kUntracked), Verdict::kNone);
  answer.source_port = 54;
  EXPECT_EQ(failsafe({}, Direction::kIngress, answer, kUntracked), Verdict::kDeny);
}

TEST(FailsafePorts, MayBeLimitedToANet) {
  const Labels values{{"failsafeInboundHostPorts", "tcp:192.0.2.8/30:22"},
                      {"failsafeOutboundHostPorts", "none"}};
  EXPECT_EQ(failsafe(values, Direction::kIngress, test::packet(kTcp, kPeer, kHost, 22)), Verdict::kAllow);
  EXPECT_EQ(failsafe(values, Direction::kIngress, test::packet(kTcp, "192.0.2.7", kHost, 22)),
            Verdict::kDeny);
  EXPECT_EQ(failsafe(values, Direction::kIngress, test::packet(kTcp, "fd00::1", "fd00::2", 22)),
            Verdict::kDeny);
  EXPECT_EQ(failsafe(values, Direction::kEgress, test::packet(kUdp, kHost, kPeer, 53)), Verdict::kDeny);
}

TEST(FailsafePorts, AreInTheTrace) {
  const auto world = host();
  const auto outcome = Evaluator{world.snapshot}.evaluate(host_key("edge"), Direction::kIngress,
                                                          test::packet(kTcp, kPeer, kHost, 22));
  EXPECT_THAT(lines(outcome), ElementsAre("|-|failsafe|allow"));
}

}  // namespace
}  // namespace ocicat::policy

#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine_host.h"
#include "policy/id_registry.h"
#include "test/support/state_meaning.h"

namespace ocicat {
namespace {

using policy::Verdict;
using test::allow_from;
using test::endpoint;
using test::EngineHost;
using test::key;
using test::policy_key;
using test::World;
using testing::HasSubstr;

// Between the source ports of a rule for some peers, the rules behind it are asked.
TEST(Engine, ARuleForSomePeersAndSourcePortsLeavesTheOthersToThoseBehindIt) {
  EngineHost host{"host1"};
  Rule some{.action = Action::kDeny, .protocol = ProtocolMatch{kTcp}};
  some.source.selector = "role == 'web'";
  some.source.ports = {PortRange{1, 10}, PortRange{100, 200}};
  some.destination.ports = {PortRange{80, 80}};
  Rule all{.protocol = ProtocolMatch{kTcp}};
  all.destination.ports = {PortRange{80, 80}};
  host.set(policy_key("both"), test::global_ingress("both", {some, all}));
  host.set(key("web"), endpoint("web", "host2", "caliw", "10.0.0.2", {{"role", "web"}}));
  host.set(key("a"), endpoint("a", "host1", "calia", "10.0.0.1"));
  const auto& own = host.state.endpoints.at(key("a")).addresses.front();
  const auto from = [&](std::uint16_t source_port) {
    auto packet = test::packet(kTcp, "10.0.0.2", "10.0.0.1", 80);
    packet.source_port = source_port;
    return policy::Simulator(host.state.tables).lookup(own.ingress, packet.source, packet).verdict;
  };
  EXPECT_EQ(from(10), Verdict::kDeny);
  EXPECT_EQ(from(11), Verdict::kAllow);
  EXPECT_EQ(from(99), Verdict::kAllow);
  EXPECT_EQ(from(100), Verdict::kDeny);
  EXPECT_EQ(from(201), Verdict::kAllow);
}

// One that holds for the peer alone settles its own keys, and not those of one that holds for all others.
TEST(Engine, ARuleThatNamesPortsOfAllPeersButOneLeavesThatOneToThoseBehindIt) {
  EngineHost host{"host1"};
  Rule of_net{.action = Action::kDeny, .protocol = ProtocolMatch{kUdpLite}};
  of_net.source.nets = {test::prefix("10.8.0.0/16")};
  Rule of_others{.action = Action::kDeny, .protocol = ProtocolMatch{kTcp}};
  of_others.source.not_nets = {test::prefix("10.8.0.0/16")};
  of_others.source.ports = {PortRange{0, 65535}, std::string("metrics")};
  host.set(policy_key("all"), test::global_ingress("all", {of_net, of_others, Rule{}}));
  host.set(key("a"), endpoint("a", "host1", "calia", "10.0.0.1"));
  EXPECT_EQ(host.ingress(key("a"), "10.8.0.2"), Verdict::kAllow);
  EXPECT_EQ(host.ingress(key("a"), "10.9.0.2"), Verdict::kDeny);
}

// Looked at alone, a rule about source ports says nothing of the others; together with one about all of them
// it does.
TEST(Engine, ATableIsTheSameHoweverManyPeersWereLookedAtBefore) {
  Rule of_net{.action = Action::kDeny, .protocol = ProtocolMatch{kUdpLite}};
  of_net.source.nets = {test::prefix("10.8.0.0/16")};
  Rule of_others{.protocol = ProtocolMatch{kUdp}};
  of_others.source.not_selector = "role == 'web'";
  of_others.source.ports = {PortRange{80, 80}, PortRange{82, 90}};
  const auto set_up = [&](EngineHost& host) {
    host.set(policy_key("both"), test::global_ingress("both", {of_net, of_others}));
    host.set(key("a"), endpoint("a", "host1", "calia", "10.0.0.1"));
  };
  const auto both = endpoint("both", "host2", "calib", "10.8.0.2", {{"role", "web"}});
  EngineHost alone{"host1"};
  set_up(alone);
  alone.set(key("both"), both);
  EngineHost last{"host1"};
  set_up(last);
  for (int i = 0; i < 3; ++i) {
    last.set(key("web"),
             endpoint("web", "host2", "caliw", fmt::format("10.7.0.{}", i + 1), {{"role", "web"}}));
    last.set(key("web"), endpoint("web", "host2", "caliw", fmt::format("10.8.1.{}", i + 1)));
  }
  last.set(key("both"), both);
  last.remove(key("web"));
  EXPECT_EQ(test::difference_in_meaning(alone.state, last.state), "");
}

// What a program's thoughts were found to be is remembered, and an id is used again once many others became
// free behind it.
TEST(Engine, AnOutcomeWhoseIdMeansAnotherByNowIsLookedUpAgain) {
  EngineHost host{"host1"};
  const auto denials = [](std::string_view name) {
    std::vector<Rule> rules;
    for (std::uint16_t port = 1; port <= policy::IdRegistry::kRest + 100; ++port) {
      auto& rule = rules.emplace_back(Rule{.action = Action::kDeny, .protocol = ProtocolMatch{kTcp}});
      rule.destination.ports = {PortRange{port, port}};
    }
    auto policy = test::global_ingress(std::string(name), rules);
    policy.selector = "role == 'other'";
    return policy;
  };
  host.set(policy_key("allow"), allow_from("allow", "role == 'api'", "role == 'web'"));
  host.set(key("a"), endpoint("a", "host1", "calia", "10.0.0.1", {{"role", "api"}}));
  host.set(key("b"), endpoint("b", "host1", "calib", "10.0.0.3", {{"role", "other"}}));
  const auto web = endpoint("web", "host2", "caliw", "10.0.0.2", {{"role", "web"}});
  host.set(key("web"), web);
  host.remove(key("web"));
  host.set(policy_key("some"), denials("some"));
  host.remove(policy_key("some"));
  host.set(policy_key("others"), denials("others"));
  host.set(key("web"), web);
  EXPECT_EQ(host.ingress(key("a"), "10.0.0.2"), Verdict::kAllow);
}

TEST(Engine, ALogRuleLeavesWhatItLogsToTheNextRuleForTheSame) {
  EngineHost host{"host1"};
  Rule log{.action = Action::kLog, .protocol = ProtocolMatch{kTcp}};
  log.source.selector = "role == 'web'";
  Rule allow = log;
  allow.action = Action::kAllow;
  host.set(policy_key("both"), test::global_ingress("both", {log, allow}));
  host.set(key("web"), endpoint("web", "host2", "caliw", "10.0.0.2", {{"role", "web"}}));
  host.set(key("a"), endpoint("a", "host1", "calia", "10.0.0.1"));
  EXPECT_EQ(host.ingress(key("a"), "10.0.0.2"), Verdict::kAllow);
  EXPECT_EQ(host.ingress(key("a"), "10.0.0.3"), Verdict::kDeny);
}

TEST(Engine, SetsThatNoActivePolicyMentionsCostNothing) {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  host.set(key("peer"), endpoint("peer", "b", "cali2", "10.0.0.2", {{"role", "web"}}));
  host.set(policy_key("idle"), allow_from("idle", "role == 'db'", "role == 'web'"));
  EXPECT_EQ(host.engine.counters().sets, 0U);
  EXPECT_TRUE(host.state.tables.classes.empty());
  host.set(policy_key("busy"), allow_from("busy", "role == 'api'", "role == 'web'"));
  EXPECT_EQ(host.engine.counters().sets, 1U);
  EXPECT_EQ(host.state.tables.classes.size(), 1U);
  host.remove(policy_key("busy"));
  EXPECT_EQ(host.engine.counters().sets, 0U);
  EXPECT_TRUE(host.state.tables.classes.empty());
}

TEST(Engine, ALabelChangeWritesOneClassEntryAndNothingElse) {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  for (const std::string role : {"web", "db"}) {
    host.set(policy_key("from-" + role),
             allow_from("from-" + role, "role == 'api'", "role == '" + role + "'"));
    host.set(key("first-" + role),
             endpoint("first-" + role, "b", "", role == "web" ? "10.0.0.2" : "10.0.0.3", {{"role", role}}));
  }
  host.set(key("peer"), endpoint("peer", "b", "", "10.0.0.4", {{"role", "web"}}));
  const auto changes = host.set(key("peer"), endpoint("peer", "b", "", "10.0.0.4", {{"role", "db"}}));
  EXPECT_EQ(changes.tables.classes.size(), 1U);
  auto rest = changes;
  rest.tables.classes.clear();
  EXPECT_TRUE(rest.empty());
}

TEST(Engine, ALabelThatNoActiveSelectorMentionsChangesNothing) {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  host.set(policy_key("p"), allow_from("p", "role == 'api'", "role == 'web'"));
  host.set(key("peer"), endpoint("peer", "b", "", "10.0.0.2", {{"role", "web"}}));
  EXPECT_TRUE(
      host.set(key("peer"), endpoint("peer", "b", "", "10.0.0.2", {{"role", "web"}, {"x", "y"}})).empty());
}

TEST(Engine, EndpointsWithTheSamePolicyShareAProgram) {
  EngineHost host("a");
  for (int i = 1; i <= 5; ++i) {
    const auto name = fmt::format("pod{}", i);
    host.set(key(name), endpoint(name, "a", "cali" + name, fmt::format("10.0.0.{}", i), {{"role", "api"}}));
  }
  host.set(policy_key("p"), allow_from("p", "role == 'api'", "role == 'web'"));
  EXPECT_EQ(host.engine.counters().programs, 2U);  // ingress and egress
}

// A host with one endpoint of its own, that ten web endpoints elsewhere may reach; seven of them are also
// blue.
EngineHost host_with_web() {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  host.set(policy_key("web"), allow_from("web", "role == 'api'", "role == 'web'"));
  for (int i = 2; i <= 11; ++i) {
    const auto name = fmt::format("web{}", i);
    Labels labels{{"role", "web"}};
    if (i <= 8) labels["colour"] = "blue";
    host.set(key(name), endpoint(name, "b", "", fmt::format("10.0.0.{}", i), labels));
  }
  return host;
}

TEST(Engine, ASetThatDividesAClassWritesTheSmallerPartOnly) {
  auto host = host_with_web();
  const auto comes = host.set(policy_key("blue"), allow_from("blue", "role == 'api'", "colour == 'blue'"));
  EXPECT_EQ(comes.tables.classes.size(), 3U);
  const auto goes = host.remove(policy_key("blue"));
  EXPECT_LE(goes.tables.classes.size(), 7U);
  EXPECT_EQ(host.engine.counters().classes, 1U);
}

// Addresses named one by one are touched themselves, and nobody else: the others learn of it all the same
// that the larger part took the id they had together.
TEST(Engine, ASetOfAddressesThatDividesAClassLeavesTheRestInAClassOfItsOwn) {
  auto host = host_with_web();
  Rule deny;
  deny.action = Action::kDeny;
  for (int i = 2; i <= 8; ++i) deny.source.nets.push_back(test::prefix(fmt::format("10.0.0.{}/32", i)));
  auto named = test::global_ingress("named", {deny});
  named.selector = "role == 'api'";
  host.set(policy_key("named"), named);
  for (int i = 2; i <= 11; ++i) {
    EXPECT_EQ(host.ingress(key("mine"), fmt::format("10.0.0.{}", i)),
              i <= 8 ? Verdict::kDeny : Verdict::kAllow);
  }
}

TEST(Engine, ANamedPortIsFollowedToItsNewNumber) {
  EngineHost host("a");
  Rule to_http;
  to_http.protocol = ProtocolMatch{kTcp};
  to_http.destination.ports = {std::string("http")};
  auto policy = test::global_ingress("http", {to_http});
  policy.selector = "role == 'api'";
  host.set(policy_key("http"), policy);
  auto mine = endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}});
  for (const auto& [port, verdict] :
       {std::pair{80, Verdict::kAllow}, {8080, Verdict::kDeny}, {80, Verdict::kAllow}}) {
    mine.ports = {{"http", kTcp, static_cast<std::uint16_t>(port)}};
    host.set(key("mine"), mine);
    EXPECT_EQ(host.ingress(key("mine"), "10.0.0.2"), verdict) << port;
  }
}

TEST(Engine, RulesThatDifferInAPortTheyLeaveOutByNameAloneAreTwo) {
  EngineHost host("a");
  Rule any;
  any.protocol = ProtocolMatch{kTcp};
  auto but_http = any;
  but_http.destination.not_ports = {std::string("http")};
  for (const auto& [role, rule] : {std::pair{"web", but_http}, {"db", any}}) {
    auto policy = test::global_ingress(role, {rule});
    policy.selector = fmt::format("role == '{}'", role);
    host.set(policy_key(role), policy);
    auto mine = endpoint(role, "a", fmt::format("cali-{}", role),
                         role == std::string("db") ? "10.0.0.1" : "10.0.0.3", {{"role", role}});
    mine.ports = {{"http", kTcp, 80}};
    host.set(key(role), mine);
  }
  EXPECT_EQ(host.ingress(key("web"), "10.0.0.2"), Verdict::kDeny);
  EXPECT_EQ(host.ingress(key("db"), "10.0.0.2"), Verdict::kAllow);
}

TEST(Engine, LabelsThatAProfileHandsDownAreThoseItHasNow) {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  host.set(policy_key("web"), allow_from("web", "role == 'api'", "role == 'web'"));
  auto heir = endpoint("heir", "b", "", "10.0.0.2");
  heir.profiles = {"hand-me-down"};
  host.set(key("heir"), heir);
  Profile profile;
  profile.metadata.name = "hand-me-down";
  for (const auto& [role, verdict] :
       {std::pair{"web", Verdict::kAllow}, {"db", Verdict::kDeny}, {"web", Verdict::kAllow}}) {
    profile.labels_to_apply = {{"role", role}};
    host.set({Kind::kProfile, "", "hand-me-down"}, profile);
    EXPECT_EQ(host.ingress(key("mine"), "10.0.0.2"), verdict) << role;
  }
}

// A selector's number is free once its last policy is gone; whoever matched it does not match the next one.
TEST(Engine, ASelectorThatComesAfterAnotherHasNoneOfItsEndpoints) {
  const std::string anyone;
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  host.set(key("db"), endpoint("db", "a", "cali2", "10.0.0.2", {{"role", "db"}}));
  host.set(policy_key("first"), allow_from("first", "role == 'api'", anyone));
  EXPECT_EQ(host.ingress(key("mine"), "10.0.0.2"), Verdict::kAllow);
  host.remove(policy_key("first"));
  host.set(policy_key("second"), allow_from("second", "role == 'db'", anyone));
  EXPECT_EQ(host.ingress(key("mine"), "10.0.0.2"), Verdict::kDeny);
  EXPECT_EQ(host.ingress(key("db"), "10.0.0.1"), Verdict::kAllow);
}

TEST(Engine, OfPoliciesWithoutAnOrderTheFirstByNameDecides) {
  EngineHost host("a");
  host.set(key("mine"), endpoint("mine", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  Rule rule;
  for (const auto& [name, action] :
       {std::pair{"m", Action::kAllow}, {"z", Action::kDeny}, {"b", Action::kDeny}}) {
    rule.action = action;
    auto policy = test::global_ingress(name, {rule});
    policy.selector = "role == 'api'";
    host.set(policy_key(name), policy);
    EXPECT_EQ(host.ingress(key("mine"), "10.0.0.2"),
              std::string_view(name) == "b" ? Verdict::kDeny : Verdict::kAllow);
  }
}

TEST(Engine, ANetThatHoldsEveryoneWritesNoAddress) {
  auto host = host_with_web();
  Rule rule;
  rule.source.nets = {test::prefix("0.0.0.0/0")};
  rule.source.not_nets = {test::prefix("10.0.0.0/8")};
  auto outside = test::global_ingress("outside", {rule});
  outside.selector = "role == 'api'";
  for (const auto& changes : {host.set(policy_key("outside"), outside), host.remove(policy_key("outside"))}) {
    EXPECT_FALSE(changes.tables.classes.empty());
    for (const auto& [prefix, class_id] : changes.tables.classes.entries()) EXPECT_FALSE(prefix.is_host());
  }
}

TEST(Engine, APolicyThatCannotBeCompiledDeniesForThoseItSelectsAndIsReported) {
  EngineHost host(std::nullopt);
  host.set(key("api"), endpoint("api", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  host.set(key("web"), endpoint("web", "a", "cali2", "10.0.0.2", {{"role", "web"}}));
  host.set(policy_key("all"), allow_from("all", "", "has(role)"));
  ASSERT_EQ(host.ingress(key("api"), "10.0.0.2"), Verdict::kAllow);
  auto broken = allow_from("a-broken", "role == 'api'", "role == 'web'");
  broken.broken = "spec.ingress[0]: no such field";
  const auto changes = host.set(policy_key("a-broken"), broken);
  EXPECT_THAT(changes.refused.entries().at(policy_key("a-broken")).value(), HasSubstr("no such field"));
  EXPECT_EQ(host.ingress(key("api"), "10.0.0.2"), Verdict::kDeny);
  EXPECT_EQ(host.ingress(key("web"), "10.0.0.1"), Verdict::kAllow);
  EXPECT_EQ(host.remove(policy_key("a-broken")).refused.entries().at(policy_key("a-broken")), std::nullopt);
  EXPECT_EQ(host.ingress(key("api"), "10.0.0.2"), Verdict::kAllow);
}

TEST(Engine, TiersAndProfilesThatAreNamedAndNotThereAreReportedUntilTheyAre) {
  EngineHost host(std::nullopt);
  auto api = endpoint("api", "a", "cali1", "10.0.0.1", {});
  api.profiles = {"ghost-profile"};
  host.set(key("api"), api);
  auto policy = allow_from("p", "", "has(role)");
  policy.tier = "ghost-tier";
  const ResourceKey tier{Kind::kTier, "", "ghost-tier"};
  const ResourceKey profile{Kind::kProfile, "", "ghost-profile"};
  EXPECT_THAT(host.set(policy_key("p"), policy).refused.entries().at(tier).value(),
              HasSubstr("does not exist"));
  EXPECT_EQ(host.ingress(key("api"), "10.0.0.2"), Verdict::kDeny);

  EXPECT_EQ(host.set(tier, Tier{.metadata = {.name = "ghost-tier"}}).refused.entries().at(tier),
            std::nullopt);
  EXPECT_THAT(host.remove(tier).refused.entries().at(tier).value(), HasSubstr("does not exist"));
  EXPECT_EQ(host.remove(policy_key("p")).refused.entries().at(tier), std::nullopt);

  Profile there{.metadata = {.name = "ghost-profile"}, .broken = "cannot be read"};
  EXPECT_THAT(host.set(profile, there).refused.entries().at(profile).value(), HasSubstr("cannot be read"));
  EXPECT_THAT(host.remove(profile).refused.entries().at(profile).value(), HasSubstr("does not exist"));
  EXPECT_EQ(host.remove(key("api")).refused.entries().at(profile), std::nullopt);
}

TEST(Engine, WhatIsMissedStaysReportedWhenItIsRemovedOnceMore) {
  World world;
  world.with_pod("shop/api", {"10.0.0.1"});
  Engine engine(Engine::Options{});
  const ResourceKey missing{Kind::kProfile, "", "kns.shop"};
  auto refused = engine.update(ResourceChanges::between({}, world.snapshot)).refused;
  ASSERT_TRUE(refused.entries().contains(missing));
  ResourceChanges gone;  // it came and went between two looks into the mailbox
  gone.remove(missing);
  EXPECT_FALSE(engine.update(gone).refused.entries().contains(missing));
}

TEST(Engine, APolicyWhoseSelectorCannotBeReadStaysAsItWas) {
  EngineHost host(std::nullopt);
  host.set(key("api"), endpoint("api", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  host.set(policy_key("p"), allow_from("p", "role == 'api'", "has(role)"));
  const auto changes = host.set(policy_key("p"), allow_from("p", "role ==", "!has(role)"));
  EXPECT_THAT(changes.refused.entries().at(policy_key("p")).value(), HasSubstr("stays in force"));
  EXPECT_TRUE(changes.tables.empty());
  EXPECT_EQ(host.ingress(key("api"), "10.0.0.1"), Verdict::kAllow);
  const auto absent = host.set(policy_key("q"), allow_from("q", "role ==", "has(role)"));
  EXPECT_THAT(absent.refused.entries().at(policy_key("q")).value(), HasSubstr("absent"));
}

TEST(Engine, AnEngineWithTheDictionaryOfAnotherUsesItsIds) {
  World world;
  world.with_namespace("shop").with_pod("shop/api", {"10.0.0.1", "fd00::1"}, {{"role", "api"}});
  world.with_pod("shop/web", {"10.0.0.2"}, {{"role", "web"}});
  world.with_policy(allow_from("old", "", "role == 'old'")).with_policy(allow_from("p", "", "role == 'web'"));
  EngineHost first(std::nullopt);
  first.step(ResourceChanges::between({}, world.snapshot));
  first.remove(policy_key("old"));  // so that the ids are not those that counting from one gives
  world.snapshot.erase(policy_key("old"));
  EngineHost second(std::nullopt, first.state.tables.dictionary);
  second.step(ResourceChanges::between({}, world.snapshot));
  EXPECT_EQ(second.state.tables.dictionary, first.state.tables.dictionary);
  EXPECT_EQ(second.state.tables.classes, first.state.tables.classes);
  EXPECT_EQ(second.state.tables.programs, first.state.tables.programs);
  EXPECT_EQ(second.state.endpoints, first.state.endpoints);
}

TEST(HostChanges, AbsorbingGivesWhatOneAfterTheOtherGives) {
  Engine engine({});
  ResourceChanges first_changes;
  first_changes.update(key("one"), endpoint("one", "a", "cali1", "10.0.0.1", {{"role", "api"}}));
  first_changes.update(policy_key("p"), allow_from("p", "", "role == 'web'"));
  ResourceChanges second_changes;
  second_changes.remove(policy_key("p"));
  second_changes.update(key("two"), endpoint("two", "a", "cali2", "10.0.0.2", {{"role", "web"}}));
  auto first = engine.update(first_changes);
  const auto second = engine.update(second_changes);
  HostState stepwise;
  first.apply_to(stepwise);
  second.apply_to(stepwise);
  first.absorb(second);
  HostState at_once;
  first.apply_to(at_once);
  EXPECT_EQ(at_once.endpoints, stepwise.endpoints);
  EXPECT_EQ(at_once.routes, stepwise.routes);
  EXPECT_EQ(at_once.settings, stepwise.settings);
  EXPECT_EQ(at_once.tables.programs, stepwise.tables.programs);
  EXPECT_EQ(at_once.tables.dictionary, stepwise.tables.dictionary);
  EXPECT_FALSE(first.empty());
  EXPECT_TRUE(HostChanges{}.empty());
}

}  // namespace
}  // namespace ocicat

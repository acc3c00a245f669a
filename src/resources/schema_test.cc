#include "resources/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace ocicat::schema {
namespace {

TEST(Schema, EveryServedKindHasATable) {
  for (const KindInfo& kind : all_kinds()) {
    const Field* table = table_of(kind.kind);
    if (!kind.served) continue;
    ASSERT_NE(table, nullptr) << kind.name;
    ASSERT_NE(table->find("metadata"), nullptr);
    EXPECT_NE(table->find("metadata")->find("labels"), nullptr);
    EXPECT_GT(table->fields.size(), 3U) << kind.name;
  }
}

TEST(Schema, TablesAreReadOnceHoweverManyAskAtTheSameTime) {
  std::vector<const Field*> seen(8);
  std::vector<std::thread> threads;
  for (auto& slot : seen)
    threads.emplace_back([&slot] { slot = table_of(Kind::kStagedGlobalNetworkPolicy); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), 1U);
}

std::set<std::string> paths_under(const Field& field, const std::string& prefix = "") {
  std::set<std::string> paths;
  for (const Field& child : field.fields) {
    paths.insert(prefix + child.name);
    const Field& inner = child.element == nullptr ? child : *child.element;
    paths.merge(paths_under(inner, prefix + child.name + "."));
  }
  return paths;
}

TEST(Schema, RulesAreTheSameInEveryKindThatHasThem) {
  const auto rule_of = [](Kind kind, const char* direction) {
    return paths_under(*table_of(kind)->find("spec")->find(direction)->element);
  };
  const auto want = rule_of(Kind::kNetworkPolicy, "ingress");
  EXPECT_TRUE(want.contains("source.serviceAccounts.names"));
  for (const auto kind : {Kind::kNetworkPolicy, Kind::kGlobalNetworkPolicy, Kind::kStagedNetworkPolicy,
                          Kind::kStagedGlobalNetworkPolicy, Kind::kProfile}) {
    EXPECT_EQ(rule_of(kind, "ingress"), want) << info(kind).name;
    EXPECT_EQ(rule_of(kind, "egress"), want) << info(kind).name;
  }
}

TEST(Schema, SuggestsAWordOnlyWhereOneIsClose) {
  EXPECT_EQ(did_you_mean("selctor", {"selector", "types"}), "did you mean selector?");
  EXPECT_EQ(did_you_mean("SELECTOR", {"selector"}), "did you mean selector?");
  EXPECT_EQ(did_you_mean("order", {"selector", "types"}), "");
  EXPECT_EQ(did_you_mean(std::string(100'000, 'x'), {"selector"}), "");
}

TEST(Schema, FormatsTakeWhatCalicoTakes) {
  struct Case {
    const char* check;
    std::vector<const char*> good;
    std::vector<const char*> bad;
  };
  const Case kCases[] = {
      {"interface", {"*", "eth0.1", "a_b-c"}, {"eth0+", "sixteen-letters-", "a b", "**"}},
      {"interfaceSlice", {"eth0"}, {"*", ""}},
      {"ifaceFilter", {"docker+", "eth0:1"}, {"*", "a/b"}},
      {"bgpFilterInterface", {"*", "eth*"}, {"eth0+"}},
      {"ignoredInterface", {"eth*"}, {"*"}},
      {"name", {"a", "a.b-c.d"}, {"A", "a..b", "-a", "a-", ".", "a."}},
      {"containerID", {"aB-9"}, {"-a", "a_b"}},
      {"selector", {"", "all()", "a in {'b'}"}, {"a ==", "("}},
      {"portName", {"http", "a-1", "1a"}, {"80", "-a", "a--b", "HTTP", "sixteen-letters1", ""}},
      {"mac",
       {"02:00:5e:10:00:01", "02-00-5E-10-00-01", "0200.5e10.0001", "02:00:5e:10:00:00:00:01"},
       {"02:00", "0x"}},
      {"keyValueList", {"", "a=b", "a=b, c=", ",a=b,"}, {"a", "a=b,c"}},
      {"prometheusHost", {"10.0.0.1", "a+b"}, {"", "a b"}},
      {"regexp", {"", "^a.*$"}, {"(", "*"}},
      {"wireguardPublicKey",
       {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
       {"AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="}},
      {"IP:port",
       {"10.0.0.1", "10.0.0.1:179", "[fd00::1]:179", "fd00::1"},
       {"", "10.0.0.1:0", "10.0.0.1:65536", "x:1"}},
      {"reachableBy", {"10.0.0.1"}, {"x"}},
      {"net", {"10.0.0.0/8", "10.0.0.1", "fd00::/8"}, {"10.0.0.1/8", "10.0.0.0/33", "x"}},
      {"netv4", {"10.0.0.0/8"}, {"fd00::/8"}},
      {"netv6", {"fd00::/8"}, {"10.0.0.0/8"}},
      {"cidr", {"10.0.0.1/8", "10.0.0.1"}, {"10/8", ""}},
      {"cidrv4", {"10.0.0.1/8"}, {"fd00::1/8"}},
      {"cidrv6", {"fd00::1/8"}, {"10.0.0.1/8"}},
      {"ipv4", {"10.0.0.1"}, {"fd00::1", "10.0.0.1/32", "010.0.0.1"}},
      {"ipv6", {"fd00::1"}, {"10.0.0.1", "::ffff:10.0.0.1"}},
      {"ip", {"10.0.0.1", "fd00::1"}, {"10.0.0", "fe80::1%eth0"}},
      {"ipType", {"CalicoNodeIP", "InternalIP", "ExternalIP"}, {"internalip"}},
      {"createDefaultHostEndpoint", {"Enabled", "Disabled"}, {"enabled"}},
      {"Duration", {"90s", "1h2m3.5s", "0", "-1ms", "1µs"}, {"90", "s", "1 s", ""}},
      {"format:date-time",
       {"2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+01:00"},
       {"2026-01-31", "2026-13-01T00:00:00Z"}},
      {"format:cidr", {"10.0.0.0/8"}, {"10.0.0.1"}},
  };
  for (const auto& [check, good, bad] : kCases) {
    for (const auto* text : good) EXPECT_EQ(check_text(check, text), "") << check << " " << text;
    for (const auto* text : bad) EXPECT_NE(check_text(check, text), "") << check << " " << text;
  }
}

TEST(Schema, NumbersOrStringsTakeWhatCalicoTakes) {
  using boost::json::value;
  struct Case {
    const char* check;
    std::vector<value> good;
    std::vector<value> bad;
  };
  const Case kCases[] = {
      {"Port",
       {1, 65535, "80", "1:65535", "http", "a_B.c-9"},
       {0, 65536, -1, "0", "0:5", "9:8", "1:", "a b", "", 1.5}},
      {"Protocol", {1, 255, "TCP", "ICMPv6", "UDPLite", "17"}, {0, 256, "tcp", "0", "", "IGMP"}},
      {"ASNumber", {0, 4294967295, "64512", "65535.65535"}, {-1, 4294967296, "65536.0", "1.2.3", "x", ""}},
      {"DSCP", {0, 63, "46", "EF", "af41", "DF", "CS6"}, {-1, 64, "CS7", "AF44", ""}},
      {"bgpFilterPrefixLengthV4", {0, 32}, {-1, 33}},
      {"bgpFilterPrefixLengthV6", {0, 128}, {129}},
      {"format:int32", {INT32_MAX}, {std::int64_t{INT32_MAX} + 1}},
      {"gt=0", {1}, {0}},
      {"gte=-1", {-1}, {-2}},
      {"lt=5", {4}, {5}},
      {"lte=5", {5}, {6}},
      {"oneof=A|B", {"A", "B", ""}, {"C"}},
  };
  for (const auto& [name, good, bad] : kCases) {
    const auto check = find_check(name);
    ASSERT_TRUE(check.has_value()) << name;
    for (const auto& one : good) EXPECT_EQ((*check)(one), "") << name << " " << one;
    for (const auto& one : bad) EXPECT_NE((*check)(one), "") << name << " " << one;
  }
  EXPECT_FALSE(find_check("nonesuch").has_value());
  EXPECT_FALSE(find_check("gt=x").has_value());
}

}  // namespace
}  // namespace ocicat::schema

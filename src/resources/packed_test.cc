#include "resources/packed.h"

#include <gtest/gtest.h>

#include "test/support/random_snapshot.h"

namespace ocicat {
namespace {

TEST(Packed, PoliciesAndProfilesComeBackAsTheyWere) {
  std::size_t compared = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    test::Random random(seed);
    for (const auto& [key, resource] : test::random_snapshot(random)) {
      if (const auto* policy = std::get_if<NetworkPolicy>(&resource)) {
        auto expected = *policy;
        expected.metadata = {.name = policy->metadata.name, .ns = policy->metadata.ns};
        for (auto* rules : {&expected.ingress, &expected.egress}) {
          for (auto& rule : *rules) rule.annotations.clear();
        }
        ASSERT_EQ(unpack_policy(pack(*policy)), expected) << "seed " << seed << " " << key.to_string();
        ++compared;
      } else if (const auto* profile = std::get_if<Profile>(&resource)) {
        auto expected = *profile;
        expected.metadata = {.name = profile->metadata.name};
        for (auto* rules : {&expected.ingress, &expected.egress}) {
          for (auto& rule : *rules) rule.annotations.clear();
        }
        ASSERT_EQ(unpack_profile(pack(*profile)), expected) << "seed " << seed << " " << key.to_string();
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 500U);
}

TEST(Packed, EveryFieldOfARuleIsKept) {
  Rule rule;
  rule.action = Action::kLog;
  rule.ip_version = Family::kIpv6;
  rule.protocol = ProtocolMatch{.number = kIcmpV6, .implies_family = true};
  rule.not_protocol = ProtocolMatch{.number = 200};
  rule.icmp = IcmpMatch{.type = 0, .code = 255};
  rule.not_icmp = IcmpMatch{.type = 254, .code = {}};
  rule.http = HttpMatch{.methods = {"GET"}, .paths = {{true, "/a"}, {false, ""}}};
  rule.source = {.selector = "a == 'b'",
                 .not_selector = "has(c)",
                 .namespace_selector = "all()",
                 .service_accounts = ServiceAccountMatch{.names = {"x", "y"}, .selector = "has(z)"},
                 .services = ServiceMatch{.name = "dns", .ns = "kube-system"},
                 .nets = {*Prefix::parse("10.0.0.0/8"), *Prefix::parse("fd00::/64")},
                 .not_nets = {*Prefix::parse("0.0.0.0/0")},
                 .ports = {PortRange{0, 65535}, std::string("http")},
                 .not_ports = {PortRange{80, 80}}};
  rule.written_at = 7;
  NetworkPolicy policy;
  policy.order = -1.5;
  policy.ingress = {rule, Rule{}};
  policy.broken = std::string("a\0b", 3);
  EXPECT_EQ(unpack_policy(pack(policy)), policy);
}

}  // namespace
}  // namespace ocicat

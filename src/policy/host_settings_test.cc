#include "policy/host_settings.h"

#include <gtest/gtest.h>

namespace ocicat {
namespace {

FelixConfiguration configuration(const std::string& name, Labels values, std::string node_selector = {}) {
  FelixConfiguration result;
  result.metadata.name = name;
  result.node_selector = std::move(node_selector);
  result.values = std::move(values);
  return result;
}

FelixConfigurations all(std::vector<FelixConfiguration> list) {
  FelixConfigurations result;
  for (auto& one : list) result.emplace(one.metadata.name, one);
  return result;
}

TEST(SettingsResolver, WithoutConfigurationTheBuiltInValuesHold) {
  EXPECT_EQ(resolve_settings({}, "a", {}), HostSettings{});
}

TEST(SettingsResolver, ReadsEveryField) {
  const auto settings =
      resolve_settings(all({configuration("default", {{"interfacePrefix", "cali,tap"},
                                                      {"defaultEndpointToHostAction", "ACCEPT"},
                                                      {"disableConntrackInvalidCheck", "true"},
                                                      {"iptablesFilterDenyAction", "Reject"},
                                                      {"logPrefix", "mine"}})}),
                       "a", {});
  EXPECT_EQ(settings.workload_prefixes, (std::vector<std::string>{"cali", "tap"}));
  EXPECT_EQ(settings.endpoint_to_host, HostSettings::ToHost::kAccept);
  EXPECT_FALSE(settings.drop_invalid);
  EXPECT_TRUE(settings.reject);
  EXPECT_EQ(settings.log_prefix, "mine");
}

TEST(SettingsResolver, TheHostsOwnConfigurationComesBeforeASelectingOneBeforeTheDefault) {
  const auto everything =
      all({configuration(
               "default",
               {{"logPrefix", "d"}, {"interfacePrefix", "tap"}, {"iptablesFilterDenyAction", "Reject"}}),
           configuration("node.a", {{"logPrefix", "n"}}), configuration("node.b", {{"logPrefix", "other"}}),
           configuration("racks", {{"logPrefix", "s"}, {"interfacePrefix", "eni"}}, "rack == '1'")});
  const auto here = resolve_settings(everything, "a", {{"rack", "1"}});
  EXPECT_EQ(here.log_prefix, "n");
  EXPECT_EQ(here.workload_prefixes, std::vector<std::string>{"eni"});
  EXPECT_TRUE(here.reject);
  const auto elsewhere = resolve_settings(everything, "c", {{"rack", "2"}});
  EXPECT_EQ(elsewhere.log_prefix, "d");
  EXPECT_EQ(resolve_settings(everything, std::nullopt, {}).log_prefix, "d");
}

TEST(SettingsResolver, ALosingSelectingConfigurationIsIgnoredWhole) {
  const auto settings =
      resolve_settings(all({configuration("a-racks", {{"logPrefix", "first"}}, "has(rack)"),
                            configuration("b-racks", {{"interfacePrefix", "eni"}}, "has(rack)")}),
                       "a", {{"rack", "1"}});
  EXPECT_EQ(settings.log_prefix, "first");
  EXPECT_EQ(settings.workload_prefixes, std::vector<std::string>{"cali"});
}

TEST(SettingsResolver, EmptyTextIsNotSetAndUnreadableTextIsTheBuiltInValue) {
  const auto settings = resolve_settings(
      all({configuration("default", {{"logPrefix", "d"}, {"interfacePrefix", "tap"}}),
           configuration("node.a", {{"logPrefix", ""}, {"interfacePrefix", "no spaces, please"}})}),
      "a", {});
  EXPECT_EQ(settings.log_prefix, "d");
  EXPECT_EQ(settings.workload_prefixes, std::vector<std::string>{"cali"});
}

}  // namespace
}  // namespace ocicat

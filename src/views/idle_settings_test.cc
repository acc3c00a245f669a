// Settings without effect are named.
#include "views/idle_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <map>
#include <sstream>

#include "policy/settings_in_effect.h"
#include "resources/schema.h"
#include "test/source_dir.h"

namespace ocicat::views {
namespace {

using testing::ElementsAre;

std::vector<std::string> lines_of(std::string_view spec, const std::set<std::string>& dataplanes,
                                  const std::set<std::string>& with_host_endpoints = {}) {
  boost::json::object configuration{{"metadata", {{"name", "default"}}}, {"spec", boost::json::parse(spec)}};
  return in_words(idle_settings(std::span(&configuration, 1), {dataplanes, with_host_endpoints}));
}

TEST(IdleSettings, AreNamedByObjectAndByTheDatapathThatKnowsThemNot) {
  EXPECT_THAT(lines_of(R"({"logPrefix": "x", "bpfRedirectToPeer": "Enabled"})", {"ebpf"}), ElementsAre());
  EXPECT_THAT(lines_of(R"({"logPrefix": "x", "bpfRedirectToPeer": "Enabled"})", {"ebpf", "nftables"}),
              ElementsAre("FelixConfiguration default: bpfRedirectToPeer: no effect with nftables"));
  EXPECT_THAT(lines_of(R"({"nftablesFilterDenyAction": "Reject"})", {"nftables"}), ElementsAre());
  EXPECT_THAT(lines_of(R"({"nftablesFilterDenyAction": "Reject"})", {"ebpf", "nftables"}),
              ElementsAre("FelixConfiguration default: nftablesFilterDenyAction: no effect with ebpf"));
  EXPECT_THAT(lines_of(R"({"genericXDPEnabled": true, "bpfEnabled": true, "xdpRefreshInterval": null})", {}),
              ElementsAre("FelixConfiguration default: bpfEnabled, genericXDPEnabled: no effect"));
}

TEST(IdleSettings, ThatDoLessThanTheySaySayWhatTheyDo) {
  EXPECT_THAT(
      lines_of(R"({"wireguardEnabled": true, "wireguardEnabledV6": true, "wireguardMTU": 1400})", {}),
      ElementsAre("FelixConfiguration default: wireguardMTU: no effect",
                  "FelixConfiguration default: wireguardEnabled, wireguardEnabledV6: opens the port of "
                  "WireGuard; nothing is encrypted"));
  EXPECT_THAT(lines_of(R"({"wireguardEnabled": false})", {}), ElementsAre());
}

TEST(IdleSettings, OfTheDenyActionSayWhereHostEndpointsAreWhatItDoesNot) {
  constexpr auto kWithEbpf =
      "with ebpf, what is denied at workloads is answered; at host endpoints it is dropped";
  constexpr auto kWithNftables =
      "with nftables, what is denied is answered, but what the host itself sends, and before translation, is "
      "dropped";
  const auto line = [](const std::string& field, const std::string& effect) {
    return "FelixConfiguration default: " + field + ": " + effect;
  };
  const auto* reject = R"({"iptablesFilterDenyAction": "reject"})";
  EXPECT_THAT(lines_of(reject, {"ebpf", "nftables"}), ElementsAre());
  EXPECT_THAT(lines_of(reject, {"ebpf", "nftables"}, {"ebpf"}),
              ElementsAre(line("iptablesFilterDenyAction", kWithEbpf)));
  EXPECT_THAT(lines_of(reject, {"ebpf", "nftables"}, {"nftables"}),
              ElementsAre(line("iptablesFilterDenyAction", kWithNftables)));
  EXPECT_THAT(
      lines_of(R"({"nftablesFilterDenyAction": "Reject"})", {"ebpf", "nftables"}, {"ebpf", "nftables"}),
      ElementsAre(line("nftablesFilterDenyAction", "no effect with ebpf"),
                  line("nftablesFilterDenyAction", kWithNftables)));
  EXPECT_THAT(lines_of(R"({"iptablesFilterDenyAction": "Drop"})", {"ebpf"}, {"ebpf"}), ElementsAre());
}

TEST(IdleSettings, ArePartsOfThoseThatHaveOthers) {
  EXPECT_THAT(
      lines_of(R"({"bpfConntrackTimeouts": {"creationGracePeriod": "7s", "udpTimeout": "7s"}})", {"ebpf"}),
      ElementsAre("FelixConfiguration default: bpfConntrackTimeouts.creationGracePeriod: no effect"));
  EXPECT_THAT(lines_of(R"({"featureDetectOverride": "ChecksumOffloadBroken=true,IPIPDeviceIsL3=true"})", {}),
              ElementsAre("FelixConfiguration default: featureDetectOverride.IPIPDeviceIsL3: no effect"));
  EXPECT_THAT(lines_of(R"({"bpfConntrackTimeouts": {"creationGracePeriod": null, "udpTimeout": "7s"},
                           "featureDetectOverride": "ChecksumOffloadBroken=false,"})",
                       {"ebpf"}),
              ElementsAre());
}

TEST(IdleSettings, OfTimesOfConnectionsAreAllPartsButThoseInEffect) {
  std::vector<std::string> without;
  const auto* spec = schema::table_of(Kind::kFelixConfiguration)->find("spec");
  for (const auto& field : spec->find("bpfConntrackTimeouts")->fields) {
    if (!lines_of(R"({"bpfConntrackTimeouts": {")" + field.name + R"(": "7s"}})", {"ebpf"}).empty())
      without.push_back(field.name);
  }
  EXPECT_THAT(without, ElementsAre("creationGracePeriod"));
}

// Of FelixConfiguration's spec.
std::vector<std::string> all_fields() {
  std::vector<std::string> names;
  for (const auto& field : schema::table_of(Kind::kFelixConfiguration)->find("spec")->fields)
    names.push_back(field.name);
  return names;
}

TEST(IdleSettings, AreAllThatHaveNoEffectAndNoOthers) {
  const auto fields = all_fields();
  EXPECT_GT(fields.size(), 180U);
  for (const auto& field : fields) {
    const auto* known = find_setting(field);
    const std::string dataplane(known != nullptr && !known->with.empty() ? known->with : "ebpf");
    const auto lines = lines_of("{\"" + field + "\": \"set\"}", {dataplane});
    EXPECT_EQ(lines.empty(), known != nullptr) << field;
  }
  for (const auto& setting : settings_in_effect())
    EXPECT_EQ(std::ranges::count(fields, setting.field), 1) << setting.field << " is no field";
}

// In the rows of the tables under a heading, behind the first cell, how often each word in backquotes is there.
std::map<std::string, int> fields_under(const std::string& heading) {
  std::ifstream file(test::source_dir() / "docs/reference/felix-configuration.md");
  std::map<std::string, int> words;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) inside = line == "## " + heading;
    if (!inside || !line.starts_with("| ")) continue;
    std::istringstream cell(line.substr(line.rfind(" | ")));
    std::string between, word;
    while (std::getline(cell, between, '`') && std::getline(cell, word, '`')) ++words[word];
  }
  return words;
}

TEST(IdleSettings, AreListedInTheReference) {
  std::map<std::string, int> with, without;
  for (const auto& field : all_fields()) ++(find_setting(field) != nullptr ? with : without)[field];
  EXPECT_EQ(fields_under("With effect"), with);
  EXPECT_EQ(fields_under("Without effect"), without);
}

}  // namespace
}  // namespace ocicat::views

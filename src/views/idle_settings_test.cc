// Settings without effect are named.
#include "views/idle_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace ocicat::views {
namespace {

using testing::ElementsAre;

std::vector<std::string> lines_of(std::string_view spec, const std::set<std::string>& dataplanes) {
  boost::json::object configuration{{"metadata", {{"name", "default"}}}, {"spec", boost::json::parse(spec)}};
  return in_words(idle_settings(std::span(&configuration, 1), dataplanes));
}

TEST(IdleSettings, AreNamedByObjectAndByTheDatapathThatKnowsThemNot) {
  EXPECT_THAT(lines_of(R"({"logPrefix": "x", "bpfRedirectToPeer": "Enabled"})", {"ebpf"}), ElementsAre());
  EXPECT_THAT(lines_of(R"({"logPrefix": "x", "bpfRedirectToPeer": "Enabled"})", {"ebpf", "nftables"}),
              ElementsAre("FelixConfiguration default: bpfRedirectToPeer: no effect with nftables"));
  EXPECT_THAT(lines_of(R"({"genericXDPEnabled": true, "bpfEnabled": true, "xdpRefreshInterval": null})", {}),
              ElementsAre("FelixConfiguration default: bpfEnabled, genericXDPEnabled: no effect"));
}

}  // namespace
}  // namespace ocicat::views

#include "dataplane/datapath_choice.h"

#include <gtest/gtest.h>

namespace ocicat::dataplane {
namespace {

struct Case {
  const char* name;
  Circumstances circumstances;
  Datapath datapath;
  const char* reason;  // a part of it
};

const Case kCases[] = {
    {"nothing speaks against it", {}, Datapath::kEbpf, "nothing speaks against it"},
    {"the kernel cannot", {.kernel_cannot = "no BTF"}, Datapath::kNftables, "no BTF"},
    {"host endpoints", {.has_host_endpoints = true}, Datapath::kEbpf, "nothing"},
    {"no place for host endpoints, and there are none", {.at_host = false}, Datapath::kEbpf, "nothing"},
    {"no place for host endpoints",
     {.at_host = false, .has_host_endpoints = true},
     Datapath::kNftables,
     "host endpoints"},
    {"a translator", {.translator = "nftables, table ip nat"}, Datapath::kNftables, "table ip nat"},
};

TEST(DatapathChoice, IsEbpfUnlessSomethingSpeaksAgainstIt) {
  for (const auto& [name, circumstances, datapath, reason] : kCases) {
    SCOPED_TRACE(name);
    const auto choice = choose(circumstances);
    EXPECT_EQ(choice.datapath, datapath);
    EXPECT_NE(choice.reason.find(reason), std::string::npos) << choice.reason;
  }
}

}  // namespace
}  // namespace ocicat::dataplane

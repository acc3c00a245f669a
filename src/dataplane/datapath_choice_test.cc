#include "dataplane/datapath_choice.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

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

// What the kernel tells of a rule with one expression of translation.
std::vector<std::uint8_t> told_rule(int message, const std::string& table, int type) {
  kernel::MessageBuilder told;
  told.begin(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message), 0, 0,
             nfgenmsg{NFPROTO_INET, NFNETLINK_V0, 0});
  told.put_string(NFTA_RULE_TABLE, table);
  const auto expressions = told.begin_nest(NFTA_RULE_EXPRESSIONS);
  const auto element = told.begin_nest(NFTA_LIST_ELEM);
  told.put_string(NFTA_EXPR_NAME, "nat");
  const auto data = told.begin_nest(NFTA_EXPR_DATA);
  told.put_be32(NFTA_NAT_TYPE, static_cast<std::uint32_t>(type));
  told.end_nest(data);
  told.end_nest(element);
  told.end_nest(expressions);
  told.end();
  const auto bytes = told.bytes();
  return {bytes.begin(), bytes.end()};
}

std::string heard(const std::vector<std::uint8_t>& told, const std::string& before = {}) {
  Circumstances circumstances{.translator = before};
  hear({}, *reinterpret_cast<const nlmsghdr*>(told.data()), circumstances);
  return circumstances.translator;
}

TEST(DatapathChoice, HearsOfOthersRulesThatTranslateDestinationsAndOfNothingElse) {
  EXPECT_EQ(heard(told_rule(NFT_MSG_NEWRULE, "proxy", NFT_NAT_DNAT)), "nftables, table inet proxy");
  EXPECT_EQ(heard(told_rule(NFT_MSG_NEWRULE, "proxy", NFT_NAT_SNAT)), "");
  EXPECT_EQ(heard(told_rule(NFT_MSG_DELRULE, "proxy", NFT_NAT_DNAT)), "");
  EXPECT_EQ(heard(told_rule(NFT_MSG_NEWRULE, Options().nat_table(), NFT_NAT_DNAT)), "") << "its own";
  EXPECT_EQ(heard(told_rule(NFT_MSG_NEWRULE, "proxy", NFT_NAT_DNAT), "IPVS, 3 services"), "IPVS, 3 services");
}

TEST(DatapathChoice, WarnsOfWhatSpeaksAgainstEbpfThatSomebodyHasNamed) {
  EXPECT_EQ(warning({}), "");
  EXPECT_NE(warning({.translator = "nftables, table ip nat"}).find("table ip nat"), std::string::npos);
}

}  // namespace
}  // namespace ocicat::dataplane

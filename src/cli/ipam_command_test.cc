#include <boost/json.hpp>

#include "cli/cli_for_test.h"
#include "ipam/allocator.h"
#include "ipam/api_documents.h"

namespace ocicat::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Ipam : public WithServer {
 protected:
  Ipam() {
    const auto path = file("pool.yaml",
                           "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: a}\n"
                           "spec: {cidr: 10.0.0.0/27, blockSize: 28}\n");
    EXPECT_EQ(ocicat({"apply", "-f", path}).code, 0);
  }
  std::string assign(const std::string& handle, Labels attributes = {}) {
    ipam::AssignRequest request;
    request.host = "host1";
    request.handle = handle;
    request.attributes = std::move(attributes);
    request.ipv4 = 1;
    const auto assigned = allocator_.assign(request);
    if (assigned) return assigned->items.front().address.to_string();
    ADD_FAILURE() << assigned.error().message;
    return {};
  }

  ipam::ApiDocuments documents_{api::Address{address()}};
  ipam::Allocator allocator_{documents_};
};

TEST_F(Ipam, ShowSaysHowFullPoolsAreAndHowLongTheyWillLast) {
  assign("net.web");
  const Ran some = ocicat({"ipam", "show"});
  EXPECT_EQ(some.code, 0);
  EXPECT_THAT(some.out, AllOf(HasSubstr("10.0.0.0/27"), HasSubstr("1 (3%)"), HasSubstr("31 (97%)"),
                              HasSubstr("1/2"), HasSubstr("31h"), Not(HasSubstr("running out"))));
  for (int i = 0; i < 9; ++i) assign("net." + std::to_string(i));
  EXPECT_THAT(
      ocicat({"ipam", "show"}).out,
      HasSubstr("IPPool a is running out: 22 of 32 addresses are free, and 10 were assigned in the last "
                "hour; at that pace it is full in 2 h"));
  const auto json = boost::json::parse(ocicat({"ipam", "show", "-o", "json"}).out);
  EXPECT_EQ(json.at("pools").at(0).at("forecast").at("fullInHours"), 2);
}

TEST_F(Ipam, ShowCallsAPoolFullThatIsAndNamesBlocksThatCannotBeRead) {
  ASSERT_TRUE(documents_.create({{"apiVersion", "projectcalico.org/v3"},
                                 {"kind", "IPPool"},
                                 {"metadata", boost::json::object{{"name", "two"}}},
                                 {"spec", boost::json::object{{"cidr", "10.1.0.0/31"}, {"blockSize", 31}}}}));
  ipam::AssignRequest both;
  both.host = "host1";
  both.handle = "net.both";
  both.ipv4 = 2;
  both.pools.ipv4 = {"two"};
  ASSERT_TRUE(allocator_.assign(both));
  EXPECT_THAT(ocicat({"ipam", "show"}).out, AllOf(HasSubstr("full"), HasSubstr("IPPool two is full")));
  auto document = *documents_.get(block_key(*Prefix::parse("10.1.0.0/31")));
  document["spec"].as_object()["allocations"] = boost::json::array{};
  ASSERT_TRUE(documents_.update(document));
  EXPECT_THAT(ocicat({"ipam", "show", "10.1.0.1"}).out, HasSubstr("is in a block that cannot be read"));
}

TEST_F(Ipam, ShowGivesBlocksAndSingleAddressesAsTextAndJson) {
  const auto given = assign("net.web", {{"pod", "web"}, {"namespace", "shop"}});
  EXPECT_THAT(ocicat({"ipam", "show", "--blocks"}).out, AllOf(HasSubstr("host1"), HasSubstr("/28")));
  const Ran one = ocicat({"ipam", "show", given});
  EXPECT_THAT(one.out, AllOf(HasSubstr(given + " is assigned"), HasSubstr("net.web"), HasSubstr("pod: web")));
  const auto json = boost::json::parse(ocicat({"ipam", "show", given, "10.0.0.99", "-o", "json"}).out);
  EXPECT_EQ(json.at("addresses").at(0).at("attributes").at("node"), "host1");
  EXPECT_EQ(json.at("addresses").at(1).at("state"), "in no pool");
  EXPECT_EQ(ocicat({"ipam", "show", "10.0.0"}).code, 2);
}

TEST_F(Ipam, CheckFindsWhatLeakedAndReleaseFreesWhatTheReportSays) {
  const auto given = assign("net.web", {{"pod", "web"}, {"namespace", "shop"}});
  const auto report = (folder_ / "leaks.json").string();
  const Ran first = ocicat({"ipam", "check", "--report", report, "--grace", "0s"});
  EXPECT_EQ(first.code, 0) << first.out;
  EXPECT_THAT(first.out, AllOf(HasSubstr("LeakedAddress"), HasSubstr("wait"), HasSubstr("shop/web is gone")));
  // Not within the grace period.
  EXPECT_THAT(ocicat({"ipam", "release", "--from-report", report}).out, HasSubstr("Nothing"));
  const Ran second = ocicat({"ipam", "check", "--report", report, "--grace", "0s"});
  EXPECT_EQ(second.code, 1) << second.out;
  EXPECT_THAT(ocicat({"ipam", "release", "--from-report", report, "--grace", "0s", "--dry-run"}).out,
              HasSubstr("would be freed"));
  const Ran freed = ocicat({"ipam", "release", "--from-report", report, "--grace", "0s"});
  EXPECT_EQ(freed.code, 0) << freed.err;
  EXPECT_THAT(freed.out, HasSubstr("LeakedAddress " + given + " freed"));
  EXPECT_THAT(ocicat({"ipam", "show", given}).out, HasSubstr("is free"));
  EXPECT_THAT(ocicat({"get", "ipamhandles"}).err, HasSubstr("No objects"));
  EXPECT_THAT(ocicat({"ipam", "check"}).out, HasSubstr("Nothing is amiss"));
}

TEST_F(Ipam, ReleaseTakesAddressesAndHandlesBack) {
  const auto one = assign("net.one");
  const auto two = assign("net.two");
  EXPECT_THAT(ocicat({"ipam", "release", one}).out, HasSubstr(one + " released"));
  EXPECT_THAT(ocicat({"ipam", "release", one}).out, HasSubstr("was not assigned"));
  EXPECT_THAT(ocicat({"ipam", "release", "--handle", "net.two"}).out, HasSubstr(two + " released"));
  EXPECT_EQ(ocicat({"ipam", "release", "10.9.9.9"}).code, 1);
  EXPECT_EQ(ocicat({"ipam", "release"}).code, 2);
}

TEST_F(Ipam, ConfigureShowsChangesAndRefusesWhatContradictsItself) {
  EXPECT_THAT(ocicat({"ipam", "configure"}).out, HasSubstr("strictAffinity: false"));
  const Ran contradiction = ocicat({"ipam", "configure", "--max-blocks-per-host", "2"});
  EXPECT_EQ(contradiction.code, 1);
  EXPECT_THAT(contradiction.err, HasSubstr("needs strictAffinity"));
  const Ran changed = ocicat(
      {"ipam", "configure", "--strict-affinity", "true", "--max-blocks-per-host", "1", "--cooldown", "90s"});
  EXPECT_EQ(changed.code, 0) << changed.err;
  EXPECT_THAT(ocicat({"ipam", "configure"}).out,
              AllOf(HasSubstr("strictAffinity: true"), HasSubstr("maxBlocksPerHost: 1"),
                    HasSubstr("ipCooldownSeconds: 90")));
}

TEST_F(Ipam, SplitPutsPartsInThePlaceOfAPoolAndWorkloadsKeepTheirAddresses) {
  const auto given = assign("net.web");
  EXPECT_THAT(ocicat({"ipam", "split", "a", "--into", "2", "--dry-run"}).out, HasSubstr("10.0.0.16/28"));
  EXPECT_EQ(ocicat({"ipam", "split", "a", "--into", "4"}).code, 1);
  const Ran split = ocicat({"ipam", "split", "a", "--into", "2"});
  EXPECT_EQ(split.code, 0) << split.err;
  EXPECT_THAT(ocicat({"get", "ippools"}).out,
              AllOf(HasSubstr("a-1"), HasSubstr("a-2"), Not(HasSubstr("/27"))));
  EXPECT_THAT(ocicat({"ipam", "show", given}).out, HasSubstr("is assigned"));
  assign("net.more");
}

TEST_F(Ipam, WithoutAServerEachSaysWhatToDo) {
  server_.reset();
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"ipam", "show"}, {"ipam", "check"}, {"ipam", "configure"}}) {
    const Ran ran = ocicat(words);
    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("ocicat server"));
  }
}

}  // namespace
}  // namespace ocicat::cli

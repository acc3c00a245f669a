#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/cli_for_test.h"
#include "cli/writer.h"

namespace ocicat::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::string_view kTier =
    "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: security}\nspec: {order: 100}\n";
constexpr std::string_view kPolicy =
    "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: security.web}\n"
    "spec:\n  tier: security\n  selector: app == 'web'\n  ingress:\n  - action: Allow\n";

class Write : public WithServer {};

TEST_F(Write, ApplyCreatesThenLeavesAloneThenConfigures) {
  const std::string tier = file("tier.yaml", kTier);
  EXPECT_EQ(ocicat({"apply", "-f", tier}).out, "tier.projectcalico.org/security created\n");
  EXPECT_EQ(ocicat({"apply", "-f", tier}).out, "tier.projectcalico.org/security unchanged\n");
  file("tier.yaml",
       "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: security}\nspec: {order: 200}\n");
  EXPECT_EQ(ocicat({"apply", "-f", tier}).out, "tier.projectcalico.org/security configured\n");
  EXPECT_THAT(ocicat({"get", "tier", "security", "-o", "yaml"}).out, HasSubstr("order: 200"));
}

TEST_F(Write, OfSeveralThatAreNamedGetShowsWhatIsThereAndNamesEachThatIsNot) {
  ocicat({"apply", "-f", file("tier.yaml", kTier)});
  const auto got = ocicat({"get", "tier", "none", "security", "nobody", "-o", "name"});
  EXPECT_EQ(got.code, 1);
  EXPECT_EQ(got.out, "tier.projectcalico.org/security\n");
  EXPECT_THAT(got.err, AllOf(HasSubstr("none"), HasSubstr("nobody")));
}

TEST_F(Write, WhatIsTakenAndDoesNothingIsWarnedAboutWithItsPlace) {
  const auto done = ocicat({"apply", "-f", file("tier.yaml", kTier), "-f",
                            file("policy.yaml", std::string(kPolicy) + "    http: {paths: [{exact: /}]}\n")});
  EXPECT_EQ(done.code, 0);
  EXPECT_THAT(done.out, HasSubstr("security.web created"));
  EXPECT_THAT(done.err, AllOf(HasSubstr("warning: "), HasSubstr("policy.yaml:9: "),
                              HasSubstr("spec.ingress[0].http: "), HasSubstr("the rule allows all of them")));
}

TEST_F(Write, AnEditGetsThroughThoughOthersWriteTheSameObject) {
  ocicat({"apply", "-f", file("tier.yaml", kTier)});
  const auto server = api::Address::parse(address());
  ASSERT_TRUE(server);
  api::Client mine(*server);
  api::Client theirs(*server);
  const ResourceKey key{Kind::kTier, "", "security"};
  const auto set = [](boost::json::object& object, std::string_view field, int value) {
    auto& metadata = object["metadata"].as_object();
    if (!metadata.contains("annotations")) metadata["annotations"] = boost::json::object();
    metadata["annotations"].as_object()[field] = std::to_string(value);
    return Result<void>();
  };
  int races = 0;
  const auto edited = edit_object(mine, key, [&](boost::json::object& object) {
    if (races < 30) {
      ++races;
      EXPECT_TRUE(edit_object(theirs, key, [&](auto& other) { return set(other, "theirs", races); }));
    }
    return set(object, "mine", races);
  });
  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_THAT(ocicat({"get", "tier", "security", "-o", "yaml"}).out,
              AllOf(HasSubstr("mine: \"30\""), HasSubstr("theirs: \"30\"")));
}

TEST_F(Write, WithOneMistakeNothingIsSentAndEveryMistakeIsNamed) {
  const std::string path =
      file("all.yaml", std::string(kTier) + "---\n" +
                           "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: other}\n"
                           "spec:\n  order: 1\n  colour: red\n---\n"
                           "apiVersion: projectcalico.org/v3\nkind: Tire\nmetadata: {name: x}\n");
  const Ran ran = ocicat({"apply", "-f", path});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, AllOf(HasSubstr("all.yaml:11:"), HasSubstr("spec.colour"), HasSubstr("Tire"),
                             HasSubstr("Nothing was sent")));
  EXPECT_THAT(ocicat({"get", "tiers", "-o", "name"}).out, Not(HasSubstr("security")));
}

TEST_F(Write, WhatOthersReferToGoesFirstAndIsDeletedLast) {
  const std::string path = file("all.yaml", std::string(kPolicy) + "---\n" + std::string(kTier));
  EXPECT_EQ(
      ocicat({"apply", "-f", path, "-n", "shop"}).out,
      "tier.projectcalico.org/security created\nnetworkpolicy.projectcalico.org/security.web created\n");
  EXPECT_EQ(
      ocicat({"delete", "-f", path, "-n", "shop"}).out,
      "networkpolicy.projectcalico.org/security.web deleted\ntier.projectcalico.org/security deleted\n");
}

TEST_F(Write, ABgpPeerMayNameAFilterThatComesWithIt) {
  constexpr std::string_view kPeer =
      "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n"
      "spec: {peerIP: 10.1.0.1, asNumber: 65001, filters: [strict, other]}\n---\n";
  constexpr std::string_view kFilter =
      "apiVersion: projectcalico.org/v3\nkind: BGPFilter\nmetadata: {name: strict}\n"
      "spec: {exportV4: [{action: Reject}]}\n";
  const std::string path = file("peer.yaml", std::string(kPeer) + std::string(kFilter));
  const Ran refused = ocicat({"apply", "-f", path});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("other"), HasSubstr("Nothing was sent")));
  const std::string other =
      file("other.yaml",
           "apiVersion: projectcalico.org/v3\nkind: BGPFilter\nmetadata: {name: other}\n"
           "spec: {importV4: [{action: Accept}]}\n");
  EXPECT_THAT(ocicat({"apply", "--dry-run", "-f", path, "-f", other}).out,
              HasSubstr("tor created (dry run)"));
  EXPECT_EQ(ocicat({"apply", "-f", path, "-f", other}).code, 0);
  EXPECT_THAT(ocicat({"get", "bgppeer", "tor", "-o", "yaml"}).out,
              AllOf(HasSubstr("strict"), HasSubstr("other")));
}

TEST_F(Write, FoldersAreReadAndFoldersInThemOnlyWhereAsked) {
  file("policies/a.yaml", kTier);
  file("policies/notes.txt", "not YAML: [");
  file("policies/deep/b.yml", kPolicy);
  const std::string folder = (folder_ / "policies").string();
  EXPECT_EQ(ocicat({"apply", "--dry-run", "-f", folder}).out,
            "tier.projectcalico.org/security created (dry run)\n");
  EXPECT_THAT(ocicat({"apply", "-R", "-f", folder, "-o", "name"}).out,
              "tier.projectcalico.org/security\nnetworkpolicy.projectcalico.org/security.web\n");
}

TEST_F(Write, TheSameObjectTwiceIsAMistake) {
  const Ran ran = ocicat({"apply", "-f", file("a.yaml", kTier), "-f", file("b.yaml", kTier)});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("b.yaml:"), HasSubstr("a.yaml:1")));
}

TEST_F(Write, CreateRefusesWhatIsThereAndReplaceWhatIsNot) {
  const std::string tier = file("tier.yaml", kTier);
  EXPECT_EQ(ocicat({"replace", "-f", tier}).code, 1);
  EXPECT_EQ(ocicat({"create", "-f", tier}).code, 0);
  const Ran again = ocicat({"create", "-f", tier});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("tier.yaml:1: Tier security"));
}

TEST_F(Write, ReplaceWithAnOldResourceVersionIsAConflict) {
  ASSERT_EQ(ocicat({"apply", "-f", file("tier.yaml", kTier)}).code, 0);
  const std::string read = file("read.yaml", ocicat({"get", "tier", "security", "-o", "yaml"}).out);
  ASSERT_EQ(ocicat({"label", "tier", "security", "a=b"}).code, 0);
  EXPECT_EQ(ocicat({"replace", "-f", read}).code, 1);
  EXPECT_EQ(ocicat({"apply", "-f", read}).code, 0) << "apply takes what is there now for its base";
}

TEST_F(Write, AFileThatIsNotThereStopsEverything) {
  const Ran ran = ocicat({"apply", "-f", file("tier.yaml", kTier), "-f", (folder_ / "none.yaml").string()});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("none.yaml"));
  EXPECT_THAT(ocicat({"get", "tiers", "-o", "name"}).out, Not(HasSubstr("security")));
}

// The file's own check knows nothing of what stands at the server.
TEST_F(Write, WhatTheServerWouldRefuseStopsEverythingBeforeTheFirstIsSent) {
  const std::string path =
      file("all.yaml", std::string(kTier) + "---\n" + std::string(kPolicy) + "---\n" +
                           "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\n"
                           "metadata: {name: a}\nspec: {tier: nowhere}\n---\n" +
                           "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\n"
                           "metadata: {name: b}\nspec: {tier: nowhere}\n");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"apply", "-f", path}, {"create", "-f", path, "--dry-run"}}) {
    const Ran ran = ocicat(words);
    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.out, IsEmpty());
    EXPECT_THAT(ran.err, AllOf(HasSubstr("GlobalNetworkPolicy a"), HasSubstr("GlobalNetworkPolicy b"),
                               HasSubstr("\"nowhere\": no such tier"), HasSubstr("Nothing was sent"),
                               Not(HasSubstr("NetworkPolicy default/security.web"))));
    EXPECT_THAT(ocicat({"get", "tiers", "-o", "name"}).out, Not(HasSubstr("security")));
  }
}

TEST_F(Write, WhenTheServerRefusesMidwayItSaysWhatWasDoneAndWhatWasNot) {
  const std::string pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: ";
  const std::string path = file("all.yaml", pool + "first}\nspec: {cidr: 10.2.0.0/16}\n---\n" + pool +
                                                "second}\nspec: {cidr: 10.2.1.0/24}\n---\n" + pool +
                                                "third}\nspec: {cidr: 10.3.0.0/16}\n");
  const Ran ran = ocicat({"apply", "-f", path});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "ippool.projectcalico.org/first created\n");
  EXPECT_THAT(ran.err, AllOf(HasSubstr("all.yaml:6: IPPool second"), HasSubstr("not sent: IPPool third"),
                             HasSubstr("What stands above was done")));
}

TEST_F(Write, LabelsAreSetOverwrittenOnlyOnDemandAndRemoved) {
  ASSERT_EQ(ocicat({"apply", "-f", file("tier.yaml", kTier)}).code, 0);
  EXPECT_EQ(ocicat({"label", "tier", "security", "team=red"}).code, 0);
  EXPECT_EQ(ocicat({"label", "tier", "security", "team=red"}).code, 0) << "the same again is no change";
  const Ran refused = ocicat({"label", "tier", "security", "team=blue"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("--overwrite"));
  EXPECT_EQ(ocicat({"label", "tier/security", "team=blue", "--overwrite"}).code, 0);
  EXPECT_THAT(ocicat({"get", "tiers", "-l", "team=blue", "-o", "name"}).out,
              "tier.projectcalico.org/security\n");
  EXPECT_EQ(ocicat({"label", "tier", "security", "team-"}).code, 0);
  EXPECT_THAT(ocicat({"get", "tiers", "-l", "team=blue", "-o", "name"}).out, IsEmpty());
  const Ran torn = ocicat({"label", "tier", "security", "team=red", "team-"});
  EXPECT_EQ(torn.code, 2);
  EXPECT_THAT(torn.err, HasSubstr("label team is changed twice"));
}

TEST_F(Write, AWatchEndsWhereWhatItSaysIsNotTaken) {
  const auto watch_on_a_full_disk = [] {
    if (std::freopen("/dev/full", "w", stdout) == nullptr) std::exit(99);
    const char* words[] = {"ocicat", "get", "tiers", "-w"};
    std::exit(run(static_cast<int>(std::size(words)), words));
  };
  EXPECT_EXIT(watch_on_a_full_disk(), testing::ExitedWithCode(1), "error: cannot write the output");
}

TEST_F(Write, DeletingSeveralGoesOnAfterOneThatIsNotThere) {
  ASSERT_EQ(ocicat({"apply", "-f", file("tier.yaml", kTier)}).code, 0);
  const Ran ran = ocicat({"delete", "tier", "nobody", "security"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("Tier nobody"));
  EXPECT_EQ(ran.out, "tier.projectcalico.org/security deleted\n");
  EXPECT_EQ(ocicat({"delete", "tier", "nobody", "--ignore-not-found"}).code, 0);
}

TEST_F(Write, GetShowsTablesNamesAndDocuments) {
  const std::string path = file("all.yaml", std::string(kTier) + "---\n" + std::string(kPolicy));
  ASSERT_EQ(ocicat({"apply", "-f", path, "-n", "shop"}).code, 0);
  const std::string table = ocicat({"get", "networkpolicy", "-A"}).out;
  EXPECT_THAT(table, AllOf(HasSubstr("NAMESPACE"), HasSubstr("SELECTOR"), HasSubstr("shop"),
                           HasSubstr("app == 'web'")));
  EXPECT_THAT(ocicat({"get", "np", "-n", "shop", "-o", "wide"}).out, HasSubstr("INGRESS-RULES"));
  EXPECT_THAT(ocicat({"get", "np", "-n", "shop", "-o", "json"}).out, HasSubstr("\"kind\": \"List\""));
  EXPECT_THAT(ocicat({"get", "np/security.web", "-n", "shop", "-o", "json"}).out, Not(HasSubstr("\"List\"")));
  const Ran none = ocicat({"get", "np"});
  EXPECT_EQ(none.code, 0);
  EXPECT_THAT(none.err, HasSubstr("No objects found in namespace default"));
  EXPECT_EQ(ocicat({"get", "np", "nobody"}).code, 1);
  EXPECT_EQ(ocicat({"get", "np", "-A", "-n", "shop"}).code, 2);
}

}  // namespace
}  // namespace ocicat::cli

// The small parts that commands are made of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/duration.h"
#include "cli/inputs.h"
#include "cli/named.h"
#include "cli/output.h"
#include "cli/writer.h"

namespace ocicat::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

TEST(Duration, TakesUnitsAndRefusesTheRest) {
  EXPECT_EQ(parse_duration("500ms"), 500ms);
  EXPECT_EQ(parse_duration("10s"), 10s);
  EXPECT_EQ(parse_duration("10"), 10s);
  EXPECT_EQ(parse_duration("2m"), 2min);
  EXPECT_EQ(parse_duration("24h"), 24h);
  for (const char* text : {"", "s", "-1s", "1d", "1 s", "25h", "99999999999999999999s", "1.5s"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(ReadText, SaysWhyAFileCannotBeRead) {
  const auto why = [](const std::string& path) { return read_text(path).error().message; };
  EXPECT_THAT(why("/nowhere/to/be/found"), HasSubstr("No such file"));
  EXPECT_THAT(why(std::string(300, 'a')), HasSubstr("File name too long"));
  EXPECT_THAT(why("/proc/self/mem"), HasSubstr("Input/output error"));
  EXPECT_THAT(why("/"), HasSubstr("Is a directory"));
}

TEST(ReadText, EndsWhereNothingCouldBeMadeOfMore) {
  const auto endless = read_text("/dev/zero");
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().message, "/dev/zero: larger than 256 MiB; split it into several files");
}

TEST(Inputs, NameEachFileThatCannotBeReadAndCrashOnNone) {
  const Inputs inputs = read_inputs({.paths = {std::string(300, 'a'), "/proc/self/mem"}, .ns = {}});
  EXPECT_TRUE(inputs.objects.empty());
  EXPECT_EQ(inputs.errors.size(), 2U);
}

TEST(Pretty, IsJsonThatParsesBackToTheSame) {
  const auto value = boost::json::parse(R"({"a": [1, {"b": "x\n"}], "c": {}, "d": [], "e": null})");
  const std::string text = pretty(value);
  EXPECT_EQ(boost::json::parse(text), value);
  EXPECT_THAT(text, HasSubstr("\n  \"a\": [\n    1,\n"));
}

TEST(Named, KindAndNamesInBothForms) {
  const auto spaced = keys_of_words({"np", "a", "b"}, "shop");
  const auto slashed = keys_of_words({"np/a", "tier/b"}, "shop");
  ASSERT_TRUE(spaced && slashed);
  EXPECT_THAT(*spaced, ElementsAre(ResourceKey{Kind::kNetworkPolicy, "shop", "a"},
                                   ResourceKey{Kind::kNetworkPolicy, "shop", "b"}));
  EXPECT_THAT(*slashed,
              ElementsAre(ResourceKey{Kind::kNetworkPolicy, "shop", "a"}, ResourceKey{Kind::kTier, "", "b"}))
      << "a kind without a namespace gets none";
  EXPECT_THAT(*keys_of_words({"np", "a"}, ""),
              ElementsAre(ResourceKey{Kind::kNetworkPolicy, "default", "a"}));
  EXPECT_FALSE(keys_of_words({"np,tier", "a"}, ""));
  EXPECT_FALSE(keys_of_words({"np/a", "b"}, ""));
  EXPECT_FALSE(keys_of_words({"np/"}, ""));
}

TEST(Rank, ReferencesComeBeforeWhatRefersToThem) {
  EXPECT_LT(rank_of(Kind::kTier), rank_of(Kind::kNetworkPolicy));
  EXPECT_LT(rank_of(Kind::kNamespace), rank_of(Kind::kServiceAccount));
  EXPECT_LT(rank_of(Kind::kGlobalNetworkSet), rank_of(Kind::kKubernetesNetworkPolicy));
  EXPECT_LT(rank_of(Kind::kStagedNetworkPolicy), rank_of(Kind::kPod)) << "no workload is without its policy";
}

TEST(SameMeaning, IgnoresWhatTheServerSetsAndAStatusThatIsNotGiven) {
  const auto parsed = [](std::string_view text) { return boost::json::parse(text).as_object(); };
  const auto stored = parsed(R"({"kind": "Pod", "metadata": {"name": "a", "uid": "1", "resourceVersion": "5"},
                                 "spec": {"x": 1}, "status": {"podIP": "10.0.0.1"}})");
  EXPECT_TRUE(same_meaning(
      stored, parsed(R"({"kind": "Pod", "metadata": {"name": "a", "labels": {}}, "spec": {"x": 1}})")));
  EXPECT_FALSE(
      same_meaning(stored, parsed(R"({"kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 2}})")));
  EXPECT_FALSE(same_meaning(stored, parsed(R"({"kind": "Pod", "metadata": {"name": "a", "labels": {"l": "m"}},
                                               "spec": {"x": 1}})")));
  EXPECT_FALSE(same_meaning(stored, parsed(R"({"kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 1},
                                               "status": {}})")));
}

}  // namespace
}  // namespace ocicat::cli

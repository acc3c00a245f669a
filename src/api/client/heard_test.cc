#include "api/client/heard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/whole_file.h"

namespace ocicat::api {
namespace {

class HeardTest : public testing::Test {
 protected:
  HeardTest() {
    std::string folder = (std::filesystem::temp_directory_path() / "ocicat-heard-XXXXXX").string();
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  ~HeardTest() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ / "heard.json"; }
  void write(std::string_view text) const { ASSERT_TRUE(write_whole(path(), text, false)); }

  std::filesystem::path folder_;
};

TEST_F(HeardTest, KnowsInTheNextLifeWhatWasKeptAndNoMore) {
  {
    Heard heard(path());
    EXPECT_EQ(heard.of(Kind::kTier), Progress{});
    EXPECT_TRUE(heard.learn({{Kind::kTier, {8, "s"}}, {Kind::kPod, {9, "s"}}}));
    heard.keep();
    EXPECT_FALSE(heard.learn({{Kind::kTier, {8, "s"}}}));
    EXPECT_TRUE(heard.learn({{Kind::kTier, {20, "s"}}}));
  }
  const Heard next(path());
  EXPECT_EQ(next.of(Kind::kTier), (Progress{8, "s"}));
  EXPECT_EQ(next.of(Kind::kPod), (Progress{9, "s"}));
  EXPECT_EQ(next.of(Kind::kNode), Progress{});
}

TEST_F(HeardTest, GoesBackOnlyToAnotherIncarnation) {
  Heard heard(path());
  heard.learn({{Kind::kTier, {8, "s"}}});
  heard.learn({{Kind::kTier, {5, "s"}}});
  EXPECT_EQ(heard.of(Kind::kTier), (Progress{8, "s"}));
  heard.learn({{Kind::kTier, {5, "other"}}});
  EXPECT_EQ(heard.of(Kind::kTier), (Progress{5, "other"}));
}

TEST_F(HeardTest, KeepsNothingOfAServerThatDoesNotNameIncarnations) {
  Heard heard(path());
  EXPECT_FALSE(heard.learn({{Kind::kTier, {8, ""}}}));
  heard.learn({{Kind::kTier, {8, "s"}}});
  heard.learn({{Kind::kTier, {3, ""}}});
  heard.keep();
  EXPECT_EQ(Heard(path()).of(Kind::kTier), Progress{});
}

TEST_F(HeardTest, OfAFileThatIsNotOneOfTheseTakesNothingAndWritesItAnew) {
  for (const std::string_view text :
       {"", "nonsense", "[]", R"({"Tier.projectcalico.org": 8})",
        R"({"Tier.projectcalico.org": {"revision": 8}})",
        R"({"Tier.projectcalico.org": {"revision": -8, "incarnation": "s"}})",
        R"({"Tier.projectcalico.org": {"revision": 8, "incarnation": ""}})",
        R"({"Pod": {"revision": 8, "incarnation": "s"}, "Tier.projectcalico.org": {"revision": "8"}})",
        R"({"Pod": {"revision": 8, "incarnation": "s"})"}) {
    write(text);
    Heard heard(path());
    EXPECT_EQ(heard.of(Kind::kTier), Progress{}) << text;
    EXPECT_EQ(heard.of(Kind::kPod), Progress{}) << text;
    EXPECT_TRUE(heard.learn({{Kind::kTier, {2, "s"}}})) << text;
    heard.keep();
    EXPECT_EQ(Heard(path()).of(Kind::kTier), (Progress{2, "s"})) << text;
  }
}

TEST_F(HeardTest, PassesOverKindsOfAnotherVersion) {
  write(R"({"Future.ocicat.io": 1, "Tier.projectcalico.org": {"revision": 8, "incarnation": "s"}})");
  EXPECT_EQ(Heard(path()).of(Kind::kTier), (Progress{8, "s"}));
}

TEST_F(HeardTest, GoesOnTryingWhereItCannotWrite) {
  Heard heard(folder_ / "missing" / "heard.json");
  EXPECT_TRUE(heard.learn({{Kind::kTier, {8, "s"}}}));
  heard.keep();
  EXPECT_TRUE(heard.learn({{Kind::kTier, {8, "s"}}}));
  std::filesystem::create_directory(folder_ / "missing");
  heard.keep();
  EXPECT_EQ(Heard(folder_ / "missing" / "heard.json").of(Kind::kTier), (Progress{8, "s"}));
}

}  // namespace
}  // namespace ocicat::api

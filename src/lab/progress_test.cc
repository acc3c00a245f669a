#include "lab/progress.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "test/support/own_name.h"

namespace ocicat::lab {
namespace {

class LastWordsTest : public testing::Test {
 protected:
  LastWordsTest() : layout_(*Layout::named("words-" + test::own_name())) {
    for (const auto* folder : {"log", "process"})
      std::filesystem::create_directories(layout_.folder() / folder);
  }
  ~LastWordsTest() override { std::filesystem::remove_all(layout_.folder()); }

  const Layout layout_;
  const LabRecord lab_{.hosts = 2, .racks = 1, .network = "vxlan", .dataplane = "none", .program = ""};
};

TEST_F(LastWordsTest, OfEachAgentAreSaidWithWhatWasWaitedForInVain) {
  std::ofstream(layout_.log_file("agent-host1")) << "begins\nno pool\nstill no pool\n";
  const auto waited =
      with_last_words(fail(ErrorCode::kUnavailable, "after 5 ms: host1 has no address"), layout_, lab_);
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(
      waited.error().message,
      "after 5 ms: host1 has no address; agent of host1 (it does not run): no pool | still no pool; agent of "
      "host2 (it does not run): ");
}

TEST_F(LastWordsTest, OfWhoRunsAreSaidAsSuch) {
  std::ifstream stat("/proc/self/stat");
  std::string field;
  for (int number = 1; number <= 22; ++number) stat >> field;  // the name of this program has no space
  std::ofstream(layout_.process_file("agent-host2")) << getpid() << ' ' << field << '\n';
  std::ofstream(layout_.log_file("agent-host2")) << "here\n";
  const auto waited = with_last_words(fail(ErrorCode::kUnavailable, "in vain"), layout_, lab_);
  EXPECT_EQ(waited.error().message, "in vain; agent of host1 (it does not run): ; agent of host2: here");
}

TEST_F(LastWordsTest, AreNotAskedForWhereNothingFailed) {
  EXPECT_TRUE(with_last_words({}, layout_, lab_));
}

}  // namespace
}  // namespace ocicat::lab

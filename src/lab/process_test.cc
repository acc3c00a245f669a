#include "lab/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

namespace ocicat::lab {
namespace {

class ProcessTest : public testing::Test {
 protected:
  ProcessTest()
      : folder_(std::filesystem::temp_directory_path() / fmt::format("ocicat-process-{}", getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~ProcessTest() override {
    EXPECT_TRUE(stop(record(), SIGKILL, std::chrono::seconds(30)).has_value());
    std::filesystem::remove_all(folder_);
  }
  std::filesystem::path record() const { return folder_ / "record"; }
  Daemon daemon(std::vector<std::string> command, bool tells_when_ready = false) const {
    return {.command = std::move(command),
            .network_namespace = {},
            .log = folder_ / "log",
            .record = record(),
            .tells_when_ready = tells_when_ready};
  }

  std::filesystem::path folder_;
};

TEST_F(ProcessTest, ADaemonRunsUntilItIsStoppedAndItsRecordGoesWithIt) {
  const auto process = start(daemon({"/bin/sleep", "1000"}));
  ASSERT_TRUE(process.has_value()) << process.error().message;
  EXPECT_TRUE(is_running(*process));
  EXPECT_EQ(recorded(record()), *process);
  ASSERT_TRUE(stop(record(), SIGTERM, std::chrono::seconds(30)).has_value());
  EXPECT_FALSE(is_running(*process));
  EXPECT_FALSE(std::filesystem::exists(record()));
}

TEST_F(ProcessTest, AProcessWithThePidButAnotherStartTimeIsSomebodyElse) {
  const auto process = start(daemon({"/bin/sleep", "1000"}));
  ASSERT_TRUE(process.has_value());
  const Process other{process->pid, process->start_time + 1};
  EXPECT_FALSE(is_running(other));
  ASSERT_TRUE(stop(other, SIGKILL, std::chrono::seconds(30)).has_value());
  EXPECT_TRUE(is_running(*process));
}

TEST_F(ProcessTest, ACommandThatIsNotThereIsAnError) {
  const auto process = start(daemon({"/nowhere/at-all"}));
  ASSERT_FALSE(process.has_value());
  EXPECT_NE(process.error().message.find("/nowhere/at-all"), std::string::npos);
}

TEST_F(ProcessTest, OneThatTellsWhenItIsReadyIsWaitedFor) {
  EXPECT_TRUE(start(daemon({"/bin/sh", "-c", "printf + >&3; exec 3>&-; exec sleep 1000"}, true)).has_value());
}

TEST_F(ProcessTest, OneThatEndsBeforeItIsReadyIsAnErrorWithItsLastWords) {
  const auto process = start(daemon({"/bin/sh", "-c", "echo no luck >&2; exit 1"}, true));
  ASSERT_FALSE(process.has_value());
  EXPECT_NE(process.error().message.find("no luck"), std::string::npos) << process.error().message;
}

TEST_F(ProcessTest, RunGivesWhatWasPrintedAndFailsWithIt) {
  EXPECT_EQ(run({"cat"}, "hello"), Result<std::string>("hello"));
  const auto failed = run({"/bin/sh", "-c", "echo why; exit 3"});
  ASSERT_FALSE(failed.has_value());
  EXPECT_NE(failed.error().message.find("why"), std::string::npos);
}

TEST_F(ProcessTest, MuchInputAndOutputDoNotWaitForEachOther) {
  const std::string much(4 << 20, 'x');
  EXPECT_EQ(run({"cat"}, much), Result<std::string>(much));
}

}  // namespace
}  // namespace ocicat::lab

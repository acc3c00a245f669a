#include "cni/plugin/address_plugin.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/folder_for_test.h"
#include "base/unique_fd.h"
#include "base/whole_file.h"

namespace ocicat::cni {
namespace {

using testing::HasSubstr;

class AddressPluginTest : public testing::Test {
 protected:
  Outcome<boost::json::object> run(std::string_view script, Command command = Command::kAdd,
                                   std::chrono::milliseconds patience = std::chrono::seconds(30)) {
    const auto file = folder_ / "strange";
    std::ofstream(file) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    const AddressPlugin plugin("strange",
                               {.command = "GC",
                                .container_id = "c1",
                                .netns = "/n",
                                .ifname = "eth0",
                                .args = "A=B",
                                .path = "/none:" + folder_.path().string()},
                               patience);
    return plugin.run(command, {{"name", "pods"}});
  }
  void expect(const Outcome<boost::json::object>& outcome, unsigned code, const std::string& says) {
    ASSERT_FALSE(outcome) << says;
    EXPECT_EQ(static_cast<unsigned>(outcome.error().code), code);
    EXPECT_THAT(outcome.error().details, HasSubstr(says));
    EXPECT_THAT(outcome.error().details, HasSubstr("strange: "));
    EXPECT_THAT(outcome.error().details, HasSubstr("grep -rl ocicat"));
    EXPECT_LT(outcome.error().details.size(), 1000U);
    EXPECT_EQ(boost::json::parse(to_json(outcome.error(), "1.0.0")).at("details").as_string(),
              outcome.error().details);
  }
  // Waits for it: who is killed goes a moment later.
  static bool nobody_writes_to(const UniqueFd& pipe) {
    char byte = 0;
    for (const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
         std::chrono::steady_clock::now() < give_up; std::this_thread::yield()) {
      if (::read(pipe.get(), &byte, 1) == 0) return true;
    }
    return false;
  }
  TestFolder folder_;
};

TEST_F(AddressPluginTest, HasTheCallsEnvironmentAndConfiguration) {
  ::setenv("CNI_IFNAME", "another", 1);
  const auto result =
      run(R"(echo "{\"said\":\"$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS\",
      \"config\":$(cat),\"path\":\"$PATH\"}")");
  ::unsetenv("CNI_IFNAME");
  ASSERT_TRUE(result) << result.error().details;
  EXPECT_EQ(result->at("said"), "ADD c1 /n eth0 A=B");
  EXPECT_EQ(result->at("config"), (boost::json::object{{"name", "pods"}}));
  EXPECT_NE(result->at("path"), "");
  EXPECT_TRUE(run("echo anything", Command::kDel));
}

TEST_F(AddressPluginTest, ItsErrorsAreHandedOnWithItsName) {
  expect(run(R"(echo '{"code":11,"msg":"busy","details":"for a while"}'; exit 1)"), 11,
         "busy: for a while (its code 11)");
  expect(run(R"(echo '{"code":101,"msg":"no more"}'; exit 1)"), 106, "no more (its code 101)");
  expect(run(R"(printf %s '{"msg":"what\u0001\n “else”"}'; exit 1)"), 106, "what   “else” (its code 0)");
  expect(run("echo oops; exit 3", Command::kDel), 106, "ended with 3, and says no reason: oops");
  expect(run("kill -9 $$"), 106, "ended by a signal");
  expect(run("printf '\\377\\376'; exit 1"), 106, "says no reason: ??");
}

TEST_F(AddressPluginTest, WhateverItDoesTheCallEnds) {
  expect(run("echo; echo hello"), 106, "no JSON object");
  expect(run("echo []"), 106, "no JSON object");
  expect(run("true"), 106, "it says nothing");
  expect(run("while :; do echo 0123456789; done"), 106, "prints more than 32768 bytes");
  expect(run("head -c 100000 /dev/zero; exit 1"), 106, "prints more than");
  // What it has started goes with it.
  const auto pipe = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const UniqueFd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const std::string late = fmt::format("(exec > {}; sleep 1000) & sleep 1000", pipe);
  expect(run(late, Command::kAdd, std::chrono::milliseconds(200)), 106, "does not end within 200 ms");
  EXPECT_TRUE(nobody_writes_to(reader));
  // Nor is one waited for that keeps its output open.
  const auto mark = folder_ / "mark";
  EXPECT_TRUE(run("sleep 100 & echo $! > " + mark.string() + "; echo {}"));
  ::kill(std::stoi(read_whole(mark)), SIGKILL);
}

TEST_F(AddressPluginTest, IsLookedForInTheCallsPathAlone) {
  for (const auto* name : {"none-such", "../strange", "sh", ""}) {
    const auto outcome = AddressPlugin(name, {.path = folder_.path().string()}).run(Command::kAdd, {});
    ASSERT_FALSE(outcome) << name;
    EXPECT_EQ(outcome.error().code, FailureCode::kUnsupportedField);
    EXPECT_THAT(outcome.error().details, HasSubstr("CNI_PATH"));
  }
}

}  // namespace
}  // namespace ocicat::cni

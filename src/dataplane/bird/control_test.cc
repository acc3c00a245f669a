// BIRD's side of the socket is played by the test.
#include "dataplane/bird/control.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <thread>

namespace ocicat::dataplane {
namespace {

using testing::HasSubstr;

class BirdControlTest : public testing::Test {
 protected:
  BirdControlTest() {
    std::string folder = (std::filesystem::temp_directory_path() / "ocicat-bird-XXXXXX").string();
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  ~BirdControlTest() override {
    if (bird_.joinable()) bird_.join();
    std::filesystem::remove_all(folder_);
  }

  UniqueFd listen() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().string().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket.get(), 1), 0);
    return socket;
  }
  // Welcomes one caller; then sends what it is given for each command, and hangs up.
  void play(std::vector<std::string> answers) {
    bird_ = std::thread([socket = listen(), answers = std::move(answers)] {
      const UniqueFd caller(::accept(socket.get(), nullptr, nullptr));
      const auto send = [&](std::string_view text) {
        // In pieces, as they may come.
        for (const char c : text) EXPECT_EQ(::send(caller.get(), &c, 1, MSG_NOSIGNAL), 1);
      };
      send("0001 BIRD 2.0.12 ready.\n");
      for (const auto& answer : answers) {
        std::array<char, 256> command{};
        if (::recv(caller.get(), command.data(), command.size(), 0) <= 0) return;
        send(answer);
      }
    });
  }
  std::filesystem::path path() const { return folder_ / "bird.ctl"; }

  std::filesystem::path folder_;
  std::thread bird_;
};

TEST_F(BirdControlTest, GivesAnAnswersLinesWithoutTheirCodes) {
  play({"2002-Name       Proto\n1002-device1    Device\n1006-  BGP state:\n     Neighbor:\n \n0000 \n"});
  auto control = BirdControl::connect(path());
  ASSERT_TRUE(control) << control.error().message;
  EXPECT_EQ(control->pid(), ::getpid());
  EXPECT_EQ(control->ask("show protocols all"),
            Result<std::string>("Name       Proto\ndevice1    Device\n  BGP state:\n    Neighbor:\n\n\n"));
}

TEST_F(BirdControlTest, GivesWhatBirdRefusesAsAnErrorAndGoesOn) {
  play({"0002-Reading configuration from x\n8002 x: No such file or directory\n", "0003 Reconfigured\n"});
  auto control = BirdControl::connect(path());
  ASSERT_TRUE(control);
  const auto refused = control->ask("configure");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("No such file"));
  EXPECT_EQ(control->ask("configure"), Result<std::string>("Reconfigured\n"));
}

TEST_F(BirdControlTest, TellsOfOneThatHangsUp) {
  play({"1000-half an answer\n"});
  auto control = BirdControl::connect(path());
  ASSERT_TRUE(control);
  EXPECT_EQ(control->ask("show status").error().code, ErrorCode::kUnavailable);
}

TEST_F(BirdControlTest, TellsOfOneThatSaysNothingAndWhereThereIsNone) {
  const auto silent = listen();
  const auto control = BirdControl::connect(path(), std::chrono::milliseconds(50));
  ASSERT_FALSE(control);
  EXPECT_EQ(control.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(control.error().message, HasSubstr("does not answer within 50 ms"));
  EXPECT_EQ(BirdControl::connect(folder_ / "nobody").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(BirdControl::connect(folder_ / std::string(200, 'x')).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace ocicat::dataplane

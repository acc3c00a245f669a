// BIRD's control socket: one command, one answer.
//
//   source   BIRD 2.0, doc/reply_codes: lines of a four-digit code and '-' or ' ', or of a blank to go on
//   with
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::dataplane {

class BirdControl {
 public:
  // kNotFound: nobody listens there. kUnavailable: it does not answer in time.
  static Result<BirdControl> connect(const std::filesystem::path& socket,
                                     std::chrono::milliseconds patience = std::chrono::seconds(5));

  // The answer's lines without their codes. kInvalid, with what BIRD said, where it refuses; kUnavailable
  // where it has gone or does not answer in time: this connection is of no use then.
  Result<std::string> ask(std::string_view command);
  // Who listens at the other end.
  pid_t pid() const { return pid_; }

 private:
  BirdControl(UniqueFd socket, pid_t pid, std::chrono::milliseconds patience)
      : socket_(std::move(socket)), pid_(pid), patience_(patience) {}
  Result<std::string> read_line(std::chrono::steady_clock::time_point deadline);
  Result<std::string> answer();

  UniqueFd socket_;
  pid_t pid_ = 0;
  std::chrono::milliseconds patience_;
  std::string received_;
};

}  // namespace ocicat::dataplane

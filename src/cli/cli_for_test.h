// Runs commands in this process, against a server of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "api/server/server.h"
#include "cli/cli.h"

namespace ocicat::cli {

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

inline Ran ocicat(std::vector<std::string> words) {
  words.insert(words.begin(), "ocicat");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Ran ran;
  ran.code = run(static_cast<int>(argv.size()), argv.data());
  std::fflush(stdout);
  ran.out = testing::internal::GetCapturedStdout();
  ran.err = testing::internal::GetCapturedStderr();
  return ran;
}

// A folder that goes away with the test.
class InFolder : public testing::Test {
 protected:
  InFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "ocicat-cli-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path;
    ::setenv("OCICAT_SERVER", address().c_str(), 1);
  }
  ~InFolder() override { std::filesystem::remove_all(folder_); }

  std::string address() const { return "unix://" + (folder_ / "server.sock").string(); }

  std::string file(const std::string& name, std::string_view text) const {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }

  std::filesystem::path folder_;
};

class WithServer : public InFolder {
 protected:
  WithServer() {
    api::ServerOptions options;
    options.socket_path = (folder_ / "server.sock").string();
    options.database_path = ":memory:";
    auto server = api::Server::start(options);
    if (server) {
      server_ = *std::move(server);
    } else {
      ADD_FAILURE() << server.error().message;
    }
  }

  std::unique_ptr<api::Server> server_;
};

}  // namespace ocicat::cli

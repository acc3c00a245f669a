// How commands begin and end.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "api/client/client.h"
#include "base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ocicat::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// Ends a command: an error is printed as "error: …"; anything but kDone leaves through CLI11 with that code.
void finish(const Result<int>& outcome);

// "error: …" and "warning: …" on stderr, each message on one line.
void print_error(const Error& error);
void print_warning(std::string_view message);

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stdout, format, std::forward<Args>(args)...);
}

// --server, for every command that asks one.
CLI::Option* add_server_option(CLI::App& command, std::string& server);

// A client of a server that answers. An empty address stands for $OCICAT_SERVER, else the standard socket;
// the error says what to do.
Result<api::Client> connect(const std::string& server);
Result<api::Address> address_of(const std::string& server);

}  // namespace ocicat::cli

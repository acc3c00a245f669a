// Waiting by looking again and again.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "base/result.h"

namespace ocicat::lab {

// As whoever waits sees it.
struct Time {
  using Clock = std::chrono::steady_clock;
  std::function<Clock::time_point()> now = Clock::now;
  std::function<void(std::chrono::milliseconds)> pause = [](auto how_long) {
    std::this_thread::sleep_for(how_long);
  };
};

// Asks what is missing until that is nothing. kUnavailable after `patience`, saying what is missing still. Who does
// not answer (kUnavailable) is asked again, too. Where everything stood still for a while (a machine that sleeps,
// processes that are frozen), the clock went on while nobody could do anything: of that little counts.
Result<void> wait_until_complete(std::chrono::milliseconds patience,
                                 const std::function<Result<std::string>()>& what_is_missing,
                                 const Time& time = {});

}  // namespace ocicat::lab

// One at a time, for each thing that has a name.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace ocicat::cni {

class Turns {
 public:
  // Held until it is destroyed.
  class Turn {
   public:
    Turn(Turns& turns, std::string name) : turns_(turns), name_(std::move(name)) {
      std::unique_lock lock(turns_.mutex_);
      turns_.freed_.wait(lock, [this] { return turns_.taken_.insert(name_).second; });
    }
    ~Turn() {
      {
        const std::scoped_lock lock(turns_.mutex_);
        turns_.taken_.erase(name_);
      }
      turns_.freed_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Turns& turns_;
    std::string name_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  std::set<std::string> taken_;
};

}  // namespace ocicat::cni

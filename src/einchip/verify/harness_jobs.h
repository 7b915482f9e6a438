// The job file, the result file and what stands in them; native.py writes and reads the same.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

enum Response : uint32_t { kOkay = 0, kSlverr = 2, kDecerr = 3 };
enum Status : uint32_t { kOk = 0, kTimeout = 1, kSkipped = 2, kUnsupported = 3 };

class Reader {
public:
    explicit Reader(const char* path) {
        std::ifstream file(path, std::ios::binary);
        if (!file) throw std::runtime_error(std::string("cannot read ") + path);
        bytes_.assign(std::istreambuf_iterator<char>(file), {});
    }
    template <typename T> T get() {
        T value;
        std::memcpy(&value, take(sizeof value), sizeof value);
        return value;
    }
    const uint8_t* take(uint64_t length) {
        if (length > bytes_.size() - at_) throw std::runtime_error("the job file ends early");
        const uint8_t* start = reinterpret_cast<const uint8_t*>(bytes_.data()) + at_;
        at_ += length;
        return start;
    }

private:
    std::vector<char> bytes_;
    uint64_t at_ = 0;
};

class Writer {
public:
    explicit Writer(const char* path) : file_(path, std::ios::binary) {
        if (!file_) throw std::runtime_error(std::string("cannot write ") + path);
    }
    template <typename T> void put(T value) { put(&value, sizeof value); }
    void put(const void* bytes, uint64_t length) {
        file_.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(length));
    }
    void put_text(const std::string& text) {
        put<uint64_t>(text.size());
        put(text.data(), text.size());
    }
    void close() {
        file_.close();
        if (!file_) throw std::runtime_error("the result file could not be written");
    }

private:
    std::ofstream file_;
};

struct Range {
    uint64_t start, end;
    bool overlaps(const Range& other) const { return start < other.end && other.start < end; }
};

struct Operation {
    enum Kind : uint32_t {
        kWrite = 1, kRead, kPoll, kWaitIrq, kIdle, kLoad, kDump, kPeek, kPoke, kRecord
    };
    uint32_t kind, space;
    uint64_t address, value, length;
    const uint8_t* data = nullptr;
};

struct Job {
    uint64_t memory_bytes, seed;
    uint32_t latency, stall_256, stall_cycles, fresh;
    std::vector<Range> faults;
    std::vector<Operation> operations;

    // Without an operation that says what to record, every cycle is.
    bool records_all() const {
        return std::none_of(operations.begin(), operations.end(),
                            [](const Operation& o) { return o.kind == Operation::kRecord; });
    }
};

inline Job read_job(Reader& in) {
    Job job{};
    job.memory_bytes = in.get<uint64_t>();
    job.seed = in.get<uint64_t>();
    job.latency = in.get<uint32_t>();
    job.stall_256 = in.get<uint32_t>();
    job.stall_cycles = in.get<uint32_t>();
    job.fresh = in.get<uint32_t>();
    for (auto n = in.get<uint32_t>(); n; --n) {
        const auto start = in.get<uint64_t>();
        job.faults.push_back({start, in.get<uint64_t>()});
    }
    for (auto n = in.get<uint32_t>(); n; --n) {
        Operation operation{};
        operation.kind = in.get<uint32_t>();
        operation.space = in.get<uint32_t>();
        operation.address = in.get<uint64_t>();
        operation.value = in.get<uint64_t>();
        operation.length = in.get<uint64_t>();
        if (operation.kind == Operation::kLoad || operation.kind == Operation::kPoke)
            operation.data = in.take(operation.length);
        job.operations.push_back(operation);
    }
    return job;
}

constexpr uint64_t kOpen = ~uint64_t{0};  // the end of what has not ended

struct Outcome {
    uint32_t status = kOk, response = kOkay;
    uint64_t begin = 0, end = kOpen, value = 0;
    std::vector<uint8_t> data;
};

struct Summary {
    uint64_t read_beats = 0, write_beats = 0, hazards = 0, violations = 0;
    std::string first_violation;

    void violation(uint64_t cycle, const std::string& what) {
        if (!violations++) first_violation = "cycle " + std::to_string(cycle) + ": " + what;
    }
};

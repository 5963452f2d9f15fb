// The memory inside block RAM cells: two ports of one clock, bytes of nine bits.
//
// Addresses count data bits, eight a byte; a port of 9, 18, 36 or 72 bits sees whole bytes, one of
// 1, 2 or 4 bits parts of the low eight. Where the data sheet promises nothing, the bits
// concerned are the complement of what the memory held, so that whoever uses them is noticed.
module sigbit_block_ram #(
    parameter integer ABITS = 14,           // log2 of the data bits
    parameter integer READ_A = 0, READ_B = 0, WRITE_A = 0, WRITE_B = 0, // widths, 0: unused
    parameter integer OWN_A = 0, OWN_B = 0, // what a port reads while it writes: OLD, NEW or HELD
    parameter integer OLD_A = 0, OLD_B = 0, // 1: the other port may read what this one writes: old
    parameter [(1 << ABITS) / 8 * 9 - 1:0] INIT = 0
) (
    input clk,
    input en_a, rst_a, en_b, rst_b,         // a reset acts with or without the enable: see below
    input [7:0] we_a, we_b,                 // byte by byte
    input [ABITS-1:0] addr_a, addr_b,
    input [71:0] di_a, di_b,
    output reg [71:0] do_a = 0, do_b = 0    // 0 at first and after a reset
);
    localparam OLD = 0, NEW = 1, HELD = 2;
    localparam integer BYTES = (1 << ABITS) / 8;

    reg [8:0] mem [0:BYTES-1];
    integer k;
    initial for (k = 0; k < BYTES; k = k + 1) mem[k] = INIT[9 * k +: 9];

    function automatic integer bytes(input integer width);
        bytes = width < 9 ? 1 : width / 9;
    endfunction

    // First byte of an access, and the first bit of a narrow one in its byte.
    function automatic integer first(input integer width, input [ABITS-1:0] addr);
        first = (addr >> 3) & ~(bytes(width) - 1);
    endfunction

    function automatic [2:0] low(input integer width, input [ABITS-1:0] addr);
        low = width < 9 ? addr[2:0] & ~3'(width - 1) : 0;
    endfunction

    // Bits of memory byte `at` that a write changes, and their values.
    function automatic [8:0] hits(input integer width, input [7:0] we, input [ABITS-1:0] addr,
                                  input integer at);
        integer i;
        begin
            i = at - first(width, addr);
            if (width == 0 || i < 0 || i >= bytes(width) || !we[i[2:0]]) hits = 0;
            else hits = width < 9 ? 9'((1 << width) - 1) << low(width, addr) : 9'h1ff;
        end
    endfunction

    function automatic [8:0] value(input integer width, input [71:0] di, input [ABITS-1:0] addr,
                                   input integer at);
        integer i;
        begin
            i = at - first(width, addr);
            value = width < 9 ? di[8:0] << low(width, addr) : di[9 * i[2:0] +: 9];
        end
    endfunction

    // Enables of bytes that a port does not have change nothing.
    wire [7:0] writes_a = en_a && WRITE_A != 0 ? we_a & 8'((1 << bytes(WRITE_A)) - 1) : 8'h00;
    wire [7:0] writes_b = en_b && WRITE_B != 0 ? we_b & 8'((1 << bytes(WRITE_B)) - 1) : 8'h00;

    // Memory byte `at` after this clock edge.
    function automatic [8:0] merged(input integer at);
        reg [8:0] a, b, old;
        begin
            a = hits(WRITE_A, writes_a, addr_a, at);
            b = hits(WRITE_B, writes_b, addr_b, at);
            old = mem[at];
            merged = old & ~(a | b) | value(WRITE_A, di_a, addr_a, at) & a & ~b
                     | value(WRITE_B, di_b, addr_b, at) & b & ~a | ~old & a & b;
        end
    endfunction

    // What a port reads: `own` bits are those it writes itself, `other` those of the other port.
    function automatic [8:0] seen(input integer at, input integer mode, input [8:0] own,
                                  input [8:0] other, input known);
        reg [8:0] found;
        begin
            found = mode == NEW ? mem[at] & ~own | merged(at) & own : mem[at];
            seen = known ? found : found ^ other;
        end
    endfunction

    function automatic [71:0] read_a(input integer unused);
        integer i, at;
        begin
            read_a = 0;
            for (i = 0; i < bytes(READ_A); i = i + 1) begin
                at = first(READ_A, addr_a) + i;
                read_a[9 * i +: 9] = seen(at, OWN_A, hits(WRITE_A, writes_a, addr_a, at),
                                          hits(WRITE_B, writes_b, addr_b, at), OLD_B != 0);
            end
            if (READ_A < 9) read_a = read_a >> low(READ_A, addr_a) & 72'((1 << READ_A) - 1);
        end
    endfunction

    function automatic [71:0] read_b(input integer unused);
        integer i, at;
        begin
            read_b = 0;
            for (i = 0; i < bytes(READ_B); i = i + 1) begin
                at = first(READ_B, addr_b) + i;
                read_b[9 * i +: 9] = seen(at, OWN_B, hits(WRITE_B, writes_b, addr_b, at),
                                          hits(WRITE_A, writes_a, addr_a, at), OLD_A != 0);
            end
            if (READ_B < 9) read_b = read_b >> low(READ_B, addr_b) & 72'((1 << READ_B) - 1);
        end
    endfunction

    // Resets come in with what the cell says about their enables.
    always @(posedge clk) begin
        if (rst_a) do_a <= 0;
        else if (en_a && READ_A != 0 && !(OWN_A == HELD && |writes_a)) do_a <= read_a(0);
        if (rst_b) do_b <= 0;
        else if (en_b && READ_B != 0 && !(OWN_B == HELD && |writes_b)) do_b <= read_b(0);
    end

    integer w;
    always @(posedge clk) begin
        for (w = 0; w < bytes(WRITE_A); w = w + 1)
            if (writes_a[w])
                mem[first(WRITE_A, addr_a) + w] <= merged(first(WRITE_A, addr_a) + w);
        for (w = 0; w < bytes(WRITE_B); w = w + 1)
            if (writes_b[w])
                mem[first(WRITE_B, addr_b) + w] <= merged(first(WRITE_B, addr_b) + w);
    end
endmodule
